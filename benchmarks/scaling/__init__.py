"""What `dupnet find` costs on a cluster: rates, and a model of the cost that runs of it check."""
