"""The webhook gateway: `POST /hooks/{pipeline}` starts a look at a pipeline's data, as a run of its deployment.

    __main__.py    the process: one port of loopback, one journal
    app.py         the ASGI application and its OpenAPI document
    delivery.py    what happens to one delivery, in order; the file to read first
    directory.py   which pipelines take webhooks: the deployments of the Prefect server
    keyring.py     their secrets, read where they are used
    schemes.py     whether a delivery shows that its sender knows one of them
    mapping.py     the parameters that a body may set
    journal.py     every delivery, on disk before it is answered
    runs.py        deliveries become flow runs: those that wait are joined, at most one waits
    sns.py         confirms the subscription of a topic that the spec names
    limits.py      sizes, times and rates
    server.py      uvicorn, with senders that dawdle
    answers.py     what a sender is told;  watching.py  what an operator is told

docs/webhooks.md is for those who set it up.
"""
