//! The entry point of every long call into the engine: it releases the GIL, enables gradients and turns panics into
//! errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

use super::errors::to_python;
use crate::error::{Error, Result};

/// Runs `f` in the engine. Autograd refuses to run while the GIL is held, and the caller may be inside
/// `torch.no_grad()`. Tensors made inside `torch.inference_mode()` never get a graph, so a call there is an error.
pub fn engine<T: Send>(py: Python<'_>, f: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    if py.import("torch")?.call_method0("is_inference_mode_enabled")?.extract::<bool>()? {
        return Err(to_python(Error::config(
            "pydarts cannot work inside torch.inference_mode(), where nothing has gradients; call it outside, or use \
             torch.no_grad() instead",
        )));
    }
    py.detach(|| caught(|| tch::with_grad(|| caught(f)))).map_err(to_python)
}

fn caught<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Error::engine(format!("internal error, please report it: {text}")))
    })
}
