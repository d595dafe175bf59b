"""
Tables and pictures of a stream and of its producers and consumers. In reading order:

    state         a stream as small tables
    wire          what a cell sends to Redis, and what comes back
    sampler       a running stream, looked at several times a second
    lanes         the events of each order, as marks in lanes
    spans         the OpenTelemetry spans of the notebook and its workers
    metrics       the OpenTelemetry metrics of workers
    lane_chart    draws these lanes
    waterfall     draws spans as a trace viewer does
    charts        still pictures of samples, of lanes and of traces
    live          a moving picture, with sliders and buttons that control the processes
"""
