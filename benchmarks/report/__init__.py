"""The report: results of `nstc bench` as one HTML page that needs nothing else.

Of nstc's extras it needs only `report`: no module here imports torch.
"""
