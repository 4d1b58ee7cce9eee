"""From a list of real videos to checked shards."""
