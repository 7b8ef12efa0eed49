"""Results of `dqindex bench run` and maps of semantic IDs as one page without a network."""
