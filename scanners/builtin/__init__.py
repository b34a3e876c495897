"""The small engine inside: test signatures, listed hashes and YARA rules, in plain data and in common archives.

It needs nothing installed and protects nobody: it shows that everything around it works.
"""
