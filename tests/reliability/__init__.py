"""What may go wrong must go wrong well: every suite counts its cases, and no case may violate."""
