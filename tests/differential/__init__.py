"""Our HTTP beside that of others: equal bytes in, equal requests and answers out, or a listed difference."""
