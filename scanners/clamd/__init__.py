"""ClamAV's daemon: what it says (`replies`), how it is reached (`wire`), and the engine made of both
(`net`)."""
