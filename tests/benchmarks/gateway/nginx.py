"""nginx configurations: the upstream that responds at once, and a reverse proxy."""

import json
from typing import Final

__all__ = ["mock_configuration", "proxy_configuration"]

_MESSAGE: Final = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
    "content": [{"type": "text", "text": "An answer of some length, as they are. " * 20}],
    "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {
        "input_tokens": 500, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 180, "service_tier": "standard",
    },
}  # fmt: skip
_LIMITS: Final = {"requests": 10_000_000, "input-tokens": 10_000_000_000, "output-tokens": 10_000_000_000}
"""The highest limits that Tidegate accepts, and more than any contender can use: nothing ever waits."""

_MAIN: Final = """\
daemon off;
master_process off;
worker_rlimit_nofile 65536;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_body_buffer_size 2m;
  client_max_body_size 0;
  keepalive_requests 100000000;
  tcp_nodelay on;
  upstream behind {{
    server 127.0.0.1:{behind};
    keepalive 4096;
    keepalive_requests 100000000;
  }}
  proxy_http_version 1.1;
  proxy_set_header connection "";
  proxy_buffering off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {server}
  }}
}}
"""


def mock_configuration(directory: str, port: int, streams_port: int) -> str:
    """An upstream that responds at once with the headers of the Claude API, and forwards streams to `MockStreams`."""
    limits = "\n".join(
        f"add_header anthropic-ratelimit-{name}-limit {limit};\n"
        f"add_header anthropic-ratelimit-{name}-remaining {limit};\n"
        f"add_header anthropic-ratelimit-{name}-reset $time_iso8601;"
        for name, limit in _LIMITS.items()
    )
    server = f"""
    default_type application/json;
    add_header request-id req_011CSHoEeqs5C35K2UUqR7Fy;
    add_header anthropic-organization-id 2ee84161-f8a7-4fe2-b2cb-7b4cc4e4a0b1;
    {limits}
    location / {{
      if ($arg_deltas) {{ proxy_pass http://behind; break; }}
      return 200 '{json.dumps(_MESSAGE)}';
    }}"""
    return _MAIN.format(directory=directory, port=port, behind=streams_port, server=server)


def proxy_configuration(directory: str, port: int, upstream_port: int) -> str:
    """A reverse proxy."""
    server = "location / { proxy_pass http://behind; }"
    return _MAIN.format(directory=directory, port=port, behind=upstream_port, server=server)
