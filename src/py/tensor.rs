//! Tensors cross as torch tensors, sharing their storage.

use std::convert::Infallible;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::{Device, Tensor};

use super::errors::to_python;
use crate::config::Precision;
use crate::error::{Error, Result};

/// A `torch.Tensor` on its way in or out.
pub struct PyTensor(pub Tensor);

impl<'py> FromPyObject<'_, 'py> for PyTensor {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // SAFETY: the pointer is that of a live Python object, held for the time of the call.
        let tensor = unsafe { Tensor::pyobject_unpack(object.as_ptr().cast()) };
        match tensor.map_err(|e| to_python(e.into()))? {
            Some(tensor) => Ok(PyTensor(tensor)),
            None => {
                let given = object.get_type().name()?;
                Err(PyTypeError::new_err(format!("expected a torch.Tensor, got {given}")))
            }
        }
    }
}

impl<'py> IntoPyObject<'py> for PyTensor {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let pointer = self.0.pyobject_wrap().map_err(|e| to_python(e.into()))?;
        // SAFETY: a new reference, or null with the Python error set.
        unsafe { Bound::from_owned_ptr_or_err(py, pointer.cast()) }
    }
}

/// name → tensor, in order.
pub fn to_dict<'py>(py: Python<'py>, named: Vec<(String, Tensor)>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, tensor) in named {
        dict.set_item(name, PyTensor(tensor))?;
    }
    Ok(dict)
}

/// name → tensor, from any mapping's items in a dict.
pub fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Tensor)>> {
    let pair = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| -> PyResult<(String, Tensor)> {
        Ok((name.extract()?, value.extract::<PyTensor>()?.0))
    };
    dict.iter().map(pair).collect()
}

/// "cpu", "cuda", "cuda:N" or "auto" (CUDA where there is one).
pub fn device(name: &str) -> Result<Device> {
    let cuda = |index: usize| match tch::Cuda::device_count() {
        0 => Err(Error::device(format!(
            "device {name:?} was asked for, but this machine (or this build of torch) has no CUDA device; use \
             device=\"cpu\" or \"auto\""
        ))),
        count if index as i64 >= count => Err(Error::device(format!(
            "device {name:?} was asked for, but there are {count} CUDA devices: cuda:0 to cuda:{}",
            count - 1
        ))),
        _ => Ok(Device::Cuda(index)),
    };
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" if tch::Cuda::device_count() > 0 => Ok(Device::Cuda(0)),
        "auto" => Ok(Device::Cpu),
        "cuda" => cuda(0),
        other => match other.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
            Some(index) => cuda(index),
            None => Err(Error::device(format!(
                "unknown device {other:?}; known: \"auto\", \"cpu\", \"cuda\", \"cuda:0\", …"
            ))),
        },
    }
}

/// As `device` reads it.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// In which numbers a network of a dtype computes: float32 is never TensorFloat-32, and bfloat16 has float32 weights.
pub fn precision_of(dtype: &str) -> Result<Precision> {
    match dtype {
        "float32" => Ok(Precision::Float32),
        "float64" => Ok(Precision::Float64),
        "tf32" => Ok(Precision::Tf32),
        "bfloat16" => Ok(Precision::Bfloat16),
        other => {
            let known = ["float32", "float64", "tf32", "bfloat16"];
            Err(Error::config(crate::error::unknown("dtype", other, &known)))
        }
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
