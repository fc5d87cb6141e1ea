"""What runs Tidegate and watches over it in production; the Python in it writes files that are committed beside it."""
