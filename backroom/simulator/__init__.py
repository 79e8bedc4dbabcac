"""The carriers on your own machine: a local server that speaks SendGrid, Twilio and SMTP, and keeps every letter.

Without provider keys every email and SMS goes here. It judges what it gets as the provider would, answers with the
provider's status codes and error bodies, keeps each letter in a file, and shows it on `/outbox` as its reader would see
it. Some recipients are magic: they bounce, refuse, throttle, hang or fail twice, so that every outcome can be tried.

    python -m backroom.simulator --port 8025 --smtp-port 8026 --home .backroom/simulator

Tests and the demo start it with `backroom.simulator.run.Simulator`.
"""
