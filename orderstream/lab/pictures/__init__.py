"""
Tables and pictures of a stream and of its producers and consumers. In reading order:

    state         a stream as small tables
    wire          what a cell sends to Redis, and what comes back
    sampler       a running stream, looked at several times a second
    spans         the OpenTelemetry spans of the notebook and its workers
    metrics       the OpenTelemetry metrics of workers
    lanes         the events of each order, as marks in lanes
    lane_chart    draws these lanes
    charts        still pictures of samples and of lanes
    live          a moving picture, with sliders and buttons that control the processes
"""
