"""How work is spread over threads, with the same result at any number of them."""
