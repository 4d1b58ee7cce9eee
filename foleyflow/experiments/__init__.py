"""Tables, measurements and benchmarks: experiments that use the library."""
