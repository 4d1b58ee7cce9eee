"""Stage two of the method, GVAF: training objectives, network, samplers and likelihood."""
