//! Tests of the CUDA graph bridge, against a fake `torch.cuda`. A module of `src/py/bridges/graph.rs`.

use std::cell::Cell;

use pyo3::types::PyDict;

use super::*;
use crate::error::Error;

/// A fake `torch.cuda` that records its calls.
const FAKE: &std::ffi::CStr = cr#"
class Stream:
    def __init__(self, name): self.name = name
    def wait_stream(self, other): log.append(f"{self.name} waits for {other.name}")

class Graph:
    def capture_begin(self, pool, capture_error_mode):
        log.append(f"begin in {pool}, {capture_error_mode}")
        if fails == "begin": raise RuntimeError("out of memory")
    def capture_end(self):
        log.append("end")
        if fails == "end": raise RuntimeError("operation not permitted when stream is capturing")
    def replay(self): log.append("replay")

class cuda:
    Stream = staticmethod(lambda device: Stream(f"side of {device}"))
    CUDAGraph = Graph
    graph_pool_handle = staticmethod(lambda: "pool")
    current_device = staticmethod(lambda: 0)
    current_stream = staticmethod(lambda device: Stream(f"main of {device}"))
    set_stream = staticmethod(lambda stream: log.append(f"on {stream.name}"))
    set_device = staticmethod(lambda device: log.append(f"device {device}"))
    synchronize = staticmethod(lambda device: log.append(f"synchronize {device}"))
    empty_cache = staticmethod(lambda: log.append("empty cache"))

log, fails = [], ""
"#;

fn fake<T>(fails: &str, f: impl FnOnce(&TorchGraphs, &dyn Fn() -> Vec<String>) -> T) -> T {
    Python::initialize();
    let (graphs, log) = Python::attach(|py| {
        let names = PyDict::new(py);
        py.run(FAKE, Some(&names), None).unwrap();
        names.set_item("fails", fails).unwrap();
        let named = |name: &str| names.get_item(name).unwrap().unwrap();
        (TorchGraphs::new(&named("cuda"), 1).unwrap(), named("log").unbind())
    });
    f(&graphs, &|| Python::attach(|py| log.extract(py).unwrap()))
}

/// Whether another thread can acquire the GIL now.
fn python_is_free() -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || Python::attach(|_| sender.send(())));
    receiver.recv_timeout(std::time::Duration::from_secs(20)).is_ok()
}

const BEFORE: [&str; 3] = ["side of 1 waits for main of 1", "on side of 1", "begin in pool, thread_local"];
const AFTER: [&str; 4] = ["end", "on main of 1", "main of 1 waits for side of 1", "device 0"];

#[test]
fn a_step_is_captured_on_the_side_stream_without_the_gil_and_replayed() {
    fake("", |graphs, log| {
        let runs = Cell::new(0);
        let body = || {
            runs.set(runs.get() + 1);
            assert!(python_is_free(), "autograd would refuse to run");
            assert_eq!(log().last().map(String::as_str), Some(BEFORE[2]));
            Ok(())
        };
        let mut captured = graphs.capture(Box::new(body)).unwrap();
        let expected = ["synchronize 1", "empty cache"].iter().chain(&BEFORE).chain(&AFTER);
        assert_eq!(log(), expected.copied().collect::<Vec<_>>());
        captured.replay().unwrap();
        captured.replay().unwrap();
        assert_eq!(log()[log().len() - 2..], ["replay", "replay"]);
        assert_eq!(runs.get(), 1);
    });
}

#[test]
fn a_warm_up_runs_on_the_side_stream() {
    fake("", |graphs, log| {
        let runs = Cell::new(0);
        graphs
            .warm_up(
                &mut (Box::new(|| {
                    runs.set(runs.get() + 1);
                    assert_eq!(log(), BEFORE[..2]);
                    Ok(())
                }) as Body),
            )
            .unwrap();
        assert_eq!((runs.get(), log()[2..].to_vec()), (1, AFTER[1..].iter().map(|s| (*s).to_owned()).collect()));
    });
}

#[test]
fn a_failed_capture_is_ended_and_the_stream_restored() {
    fake("end", |graphs, log| {
        let error = graphs.capture(Box::new(|| Ok(()))).err().unwrap();
        assert!(error.detail.contains("not permitted"), "{error}");
        assert_eq!(log()[log().len() - 4..], AFTER);
        // The step's own error comes first.
        let error = graphs.capture(Box::new(|| Err(Error::data("a batch is empty")))).err().unwrap();
        assert_eq!(error.detail, "a batch is empty");
        assert_eq!(log()[log().len() - 4..], AFTER);
    });
}

#[test]
fn a_capture_that_does_not_begin_runs_nothing_and_restores_the_stream() {
    fake("begin", |graphs, log| {
        let error = graphs.capture(Box::new(|| panic!("nothing would record it"))).err().unwrap();
        assert!(error.detail.contains("out of memory"), "{error}");
        assert_eq!(log()[log().len() - 3..], AFTER[1..]);
    });
}
