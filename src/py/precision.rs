//! Devices, and the precision of matrix products, which only torch's Python API can set.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use tch::Device;

use super::errors::from_python;
use crate::config::Precision;
use crate::error::Result;
use crate::nn::{MatrixPrecision, Numbers};

/// The precision settings of cuBLAS and cuDNN for float32 products, restored after every call and on drop.
#[derive(Default)]
struct TorchBackends {
    /// The user's settings while ours are in effect.
    before: Mutex<Option<Vec<String>>>,
}

const BACKENDS: [&str; 2] = ["cuda.matmul", "cudnn.conv"];
const SETTING: &str = "fp32_precision";

fn backend<'py>(py: Python<'py>, place: &str) -> PyResult<Bound<'py, PyAny>> {
    let mut object = py.import("torch.backends")?.into_any();
    for name in place.split('.') {
        object = object.getattr(name)?;
    }
    Ok(object)
}

impl TorchBackends {
    fn read() -> Result<Vec<String>> {
        let read = |place: &&str| Python::attach(|py| backend(py, place)?.getattr(SETTING)?.extract::<String>());
        BACKENDS.iter().map(read).collect::<PyResult<_>>().map_err(from_python)
    }

    fn set(values: [&str; 2]) -> Result<()> {
        Python::attach(|py| {
            BACKENDS.iter().zip(values).try_for_each(|(place, value)| backend(py, place)?.setattr(SETTING, value))
        })
        .map_err(from_python)
    }
}

impl MatrixPrecision for TorchBackends {
    fn allow_tf32(&self, on: bool) -> Result<()> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        if before.is_none() {
            *before = Some(Self::read()?);
        }
        Self::set([if on { "tf32" } else { "ieee" }; 2])
    }

    fn restore(&self) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some([matmul, conv]) = before.as_deref() {
            // An error cannot be reported from here; it means that torch is being unloaded.
            let _ = Self::set([matmul, conv]);
        }
    }
}

impl Drop for TorchBackends {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Whether a device supports TensorFloat-32: GPUs since Ampere do.
fn has_tf32(device: Device) -> Result<bool> {
    let Device::Cuda(index) = device else { return Ok(false) };
    let capability = |py: Python| -> PyResult<(i64, i64)> {
        py.import("torch.cuda")?.call_method1("get_device_capability", (index,))?.extract()
    };
    Ok(Python::attach(capability).map_err(from_python)?.0 >= 8)
}

/// The dtypes and switches for a precision on a device.
pub fn numbers(precision: Precision, device: Device) -> Result<Numbers> {
    let switch = device.is_cuda().then(|| Arc::new(TorchBackends::default()) as Arc<dyn MatrixPrecision>);
    Numbers::new(precision, has_tf32(device)?, switch)
}

/// Whether libtorch finds a CUDA device.
#[pyfunction]
pub fn cuda_is_available() -> bool {
    tch::Cuda::is_available()
}

/// The name of the processor if the system reports it, otherwise its architecture.
#[pyfunction]
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |name| name.trim().to_owned())
}
