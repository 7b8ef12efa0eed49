"""Small recommenders in torch that take weighted features of users and items."""
