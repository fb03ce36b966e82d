//! Search steps as CUDA graphs, through `torch.cuda`, because tch does not bind libtorch's own.
//!
//! A capture records all work on a stream, from any thread. The current stream is a property of the thread, so calls
//! of tch use the stream that Python's `set_stream` selects, and a backward pass runs on the streams of its forward
//! pass. The GIL is held only during the calls into Python, because autograd refuses to run under it.

use pyo3::prelude::*;
use pyo3::types::IntoPyDict;
use tch::Device;

use crate::config::{Graph, SearchConfig};
use crate::error::Result;
use crate::py::errors::{from_python, to_python};
use crate::search::{Body, GraphCapture, Replay};

/// The graphs of a search on CUDA with `graph="auto"`.
pub fn graph_capture(py: Python, config: &SearchConfig, device: Device) -> PyResult<Option<TorchGraphs>> {
    match (config.execution.graph, device) {
        (Graph::Auto, Device::Cuda(index)) => {
            let cuda = py.import("torch.cuda")?;
            TorchGraphs::new(cuda.as_any(), index).map_err(to_python).map(Some)
        }
        _ => Ok(None),
    }
}

/// Captures with `torch.cuda.CUDAGraph`.
pub struct TorchGraphs {
    cuda: Py<PyAny>,
    device: usize,
    /// The stream on which steps are warmed up and captured; the default stream cannot be captured.
    side: Py<PyAny>,
    /// The memory pool of all graphs. They can share it because nothing in it outlives a step.
    pool: Py<PyAny>,
}

impl TorchGraphs {
    /// `cuda`: the module `torch.cuda`.
    fn new(cuda: &Bound<'_, PyAny>, device: usize) -> Result<Self> {
        let made = || {
            let side = cuda.call_method("Stream", (), Some(&[("device", device)].into_py_dict(cuda.py())?))?;
            let pool = cuda.call_method0("graph_pool_handle")?;
            Ok(TorchGraphs { cuda: cuda.clone().unbind(), device, side: side.unbind(), pool: pool.unbind() })
        };
        made().map_err(from_python)
    }

    fn python<T>(&self, f: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>) -> Result<T> {
        Python::attach(|py| f(self.cuda.bind(py))).map_err(from_python)
    }

    /// Closes the pool that a failed `capture_begin` or `capture_end` leaves open (PyTorch 2.11): the allocator assumes
    /// that the capture continues and frees nothing.
    fn close_pool(&self) {
        for name in ["_cuda_endAllocateToPool", "_cuda_releasePool"] {
            // If the capture had not opened the pool, this raises; there is nothing to close.
            let _ = self.python(|cuda| {
                let private = cuda.py().import("torch")?.getattr("_C")?;
                private.call_method1(name, (self.device, &self.pool)).map(drop)
            });
        }
    }

    /// Makes the side stream this thread's until the guard is dropped.
    fn on_side_stream(&self) -> Result<SideStream<'_>> {
        self.python(|cuda| {
            let device = cuda.call_method0("current_device")?.unbind();
            let before = cuda.call_method1("current_stream", (self.device,))?;
            self.side.bind(cuda.py()).call_method1("wait_stream", (&before,))?;
            let guard = SideStream { graphs: self, device, before: before.unbind() };
            cuda.call_method1("set_stream", (&self.side,))?;
            Ok(guard)
        })
    }
}

/// The previous stream and device of this thread, restored when dropped.
struct SideStream<'a> {
    graphs: &'a TorchGraphs,
    device: Py<PyAny>,
    before: Py<PyAny>,
}

impl Drop for SideStream<'_> {
    fn drop(&mut self) {
        // These calls fail only if the device has failed; the next operation reports that.
        let _ = self.graphs.python(|cuda| {
            cuda.call_method1("set_stream", (&self.before,))?;
            self.before.bind(cuda.py()).call_method1("wait_stream", (&self.graphs.side,))?;
            cuda.call_method1("set_device", (&self.device,)).map(drop)
        });
    }
}

impl GraphCapture for TorchGraphs {
    fn warm_up(&self, body: &mut Body) -> Result<()> {
        let _guard = self.on_side_stream()?;
        body()
    }

    fn capture<'a>(&self, mut body: Body<'a>) -> Result<Box<dyn Replay + 'a>> {
        let graph = self.python(|cuda| {
            cuda.call_method1("synchronize", (self.device,))?;
            // A graph cannot use the memory that is cached for ordinary steps.
            cuda.call_method0("empty_cache")?;
            Ok(cuda.call_method0("CUDAGraph")?.unbind())
        })?;
        let _guard = self.on_side_stream()?;
        let begun = self.python(|cuda| {
            // Other threads, such as those of a loader, may use CUDA during the capture.
            let options = [("capture_error_mode", "thread_local")].into_py_dict(cuda.py())?;
            options.set_item("pool", &self.pool)?;
            graph.bind(cuda.py()).call_method("capture_begin", (), Some(&options)).map(drop)
        });
        let recorded = if begun.is_ok() { body() } else { Ok(()) };
        let ended =
            begun.and_then(|()| self.python(|cuda| graph.bind(cuda.py()).call_method0("capture_end").map(drop)));
        if ended.is_err() {
            self.close_pool();
        }
        recorded.and(ended)?;
        Ok(Box::new(Captured { graph, _body: body }))
    }

    fn release(&self) {
        // If this fails, less memory is free, and the next step reports it.
        let _ = self.python(|cuda| cuda.call_method0("empty_cache").map(drop));
    }
}

/// A captured step and the closure whose tensors it is bound to.
struct Captured<'a> {
    graph: Py<PyAny>,
    _body: Body<'a>,
}

impl Replay for Captured<'_> {
    fn replay(&mut self) -> Result<()> {
        Python::attach(|py| self.graph.bind(py).call_method0("replay").map(drop)).map_err(from_python)
    }
}

#[cfg(test)]
#[path = "../../../tests/binding/graph.rs"]
mod tests;
