"""The methods of both clients, one file a service: the blocking ones, then the awaiting ones."""
