"""What a coordinator's and a partner's machine have in common when a federation runs on real networks.

Each side's own process starts the Flower processes that it needs, stands between them and the network, and stops them
when it stops. Flower is transport here; what may pass is decided by us.
"""
