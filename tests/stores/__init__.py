"""Benches: a store that answers, and what the contract must know to ask it. One module each, named as in ``STORES``.

A module has ``bench(request)``, which gives a ``Bench``. Live servers are started once a test process on loopback and stopped
by their own pid; doubles are small servers on loopback, written from the vendor's public documents.
"""
