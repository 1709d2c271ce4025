"""What the public methods do, one module a service. See `concordat._steps`."""
