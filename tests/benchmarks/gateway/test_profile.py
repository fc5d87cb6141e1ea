from benchmarks.gateway.profile import parts, shares

LOOP = "run (tidegate/cli/process/event_loop.py:1);Runner.run (asyncio/runners.py:118)"


def test_a_stack_counts_for_its_innermost_part() -> None:
    frames = [
        "run_asgi (uvicorn/x.py",
        "_relay (tidegate/gateway/app.py",
        "learn (tidegate/core/pool/pool.py",
        "get (enum.py",
    ]
    assert parts(frames) == "limiter (core, stores, engine)"
    assert parts(frames[:2]) == "gateway: bodies, headers, attempts, relaying"
    assert parts(["f (tidegate/http/client/response.py"]).startswith("connection to the upstream")
    assert parts(["Runner.run (asyncio/runners.py"]) == "event loop, sockets, interpreter"


def test_samples_of_the_main_thread_are_counted_by_part_and_function() -> None:
    by_part, by_function, total = shares(
        [
            f"{LOOP};send (uvicorn/h.py:9) 3",
            f"{LOOP};send (uvicorn/h.py:12) 4",
            f"{LOOP} 2",
            "run (threading.py:1);work (uvicorn/h.py:9) 50",
        ]
    )
    assert total == 9
    assert by_function == {"send (uvicorn/h.py": 7, "Runner.run (asyncio/runners.py": 2}
    assert by_part == {"server (uvicorn, httptools, socket writes)": 7, "event loop, sockets, interpreter": 2}
