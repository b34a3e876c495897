"""Objects on their way through running gateways: what `avsluice doctor` sends, and what became of it."""
