//! Conversion of tensors to and from torch tensors, which share their storage.

use std::convert::Infallible;

use numpy::IntoPyArray;
use numpy::ndarray::{Array, Dimension};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::{Device, Kind, Tensor};

use super::errors::to_python;
use crate::config::Precision;
use crate::error::{Error, Result};

/// A tensor that converts to and from `torch.Tensor`.
pub struct PyTensor(pub Tensor);

impl<'py> FromPyObject<'_, 'py> for PyTensor {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // SAFETY: the pointer belongs to a live Python object that is borrowed for this call.
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
        // SAFETY: the pointer is a new reference, or null with a Python error set.
        unsafe { Bound::from_owned_ptr_or_err(py, pointer.cast()) }
    }
}

/// A dictionary of tensors by name, in order.
pub fn to_dict<'py>(py: Python<'py>, named: Vec<(String, Tensor)>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, tensor) in named {
        dict.set_item(name, PyTensor(tensor))?;
    }
    Ok(dict)
}

/// A dictionary of numpy arrays by name, in the dtype of the network.
pub fn arrays<'py, D: Dimension>(
    py: Python<'py>,
    tables: &[(String, Array<f64, D>)],
    dtype: Kind,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, table) in tables {
        match dtype {
            Kind::Double => dict.set_item(name, table.clone().into_pyarray(py))?,
            _ => dict.set_item(name, table.mapv(|a| a as f32).into_pyarray(py))?,
        }
    }
    Ok(dict)
}

/// The names and tensors of a dictionary.
pub fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Tensor)>> {
    let pair = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| -> PyResult<(String, Tensor)> {
        Ok((name.extract()?, value.extract::<PyTensor>()?.0))
    };
    dict.iter().map(pair).collect()
}

/// "cpu", "cuda", "cuda:N" or "auto" (CUDA if available).
pub fn device(name: &str) -> Result<Device> {
    let cuda = |index: usize| match tch::Cuda::device_count() {
        0 => Err(Error::device(format!(
            "device {name:?} is not available: this machine (or this build of torch) has no CUDA device; use \
             device=\"cpu\" or \"auto\""
        ))),
        count if index as i64 >= count => Err(Error::device(format!(
            "device {name:?} does not exist; there are {count} CUDA devices, cuda:0 to cuda:{}",
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

/// The name of a device, as `device` accepts it.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// The precision for a dtype name. "float32" never uses TensorFloat-32; "bfloat16" keeps float32 weights.
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
