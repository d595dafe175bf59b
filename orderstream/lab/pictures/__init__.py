"""
What is seen of a stream and of those who work on it. In reading order:

    state         a stream as small tables
    wire          what a cell sends to Redis, and what comes back
    sampler       a running stream, looked at several times a second
    spans         what the notebook and its workers told OpenTelemetry
    metrics       the numbers that workers told
    lanes         what happened to each order, as marks in lanes
    lane_chart    these lanes, drawn
    charts        still pictures of samples and of lanes
    live          the moving picture, with sliders and buttons that drive the processes
"""
