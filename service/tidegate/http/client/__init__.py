"""The relay's own HTTP/1.1 client, over asyncio protocols and httptools: a client is what relaying costs most."""
