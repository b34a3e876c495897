"""Dr.Web's daemon, drwebd: what it says (`replies`), how it is reached (`wire`), and the engines made of both
(`net`, `file`). Written from published descriptions; never run against a real Dr.Web."""
