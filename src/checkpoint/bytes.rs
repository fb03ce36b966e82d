//! Tensors as safetensors stores them.

use std::borrow::Cow;

use safetensors::tensor::{Dtype, TensorView, View};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// The dtypes that a file can hold.
const DTYPES: [(Kind, Dtype); 10] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Int64, Dtype::I64),
    (Kind::Int, Dtype::I32),
    (Kind::Int16, Dtype::I16),
    (Kind::Int8, Dtype::I8),
    (Kind::Uint8, Dtype::U8),
    (Kind::Bool, Dtype::BOOL),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
];

/// The bytes of one tensor, as safetensors expects them.
pub struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

impl Bytes {
    /// A copy of a tensor.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let kind = tensor.f_kind()?;
        let Some((_, dtype)) = DTYPES.iter().find(|(other, _)| *other == kind) else {
            return Err(Error::engine(format!("a checkpoint cannot store a tensor of dtype {kind:?}")));
        };
        let n = tensor.numel();
        let mut data = vec![0; n * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut data, n)?;
        Ok(Bytes { dtype: *dtype, shape: tensor.size().iter().map(|&d| d as usize).collect(), data })
    }
}

/// The tensor `name` of a file.
pub fn tensor_of(name: &str, view: &TensorView) -> Result<Tensor> {
    let dtype = view.dtype();
    let Some((kind, _)) = DTYPES.iter().find(|(_, other)| *other == dtype) else {
        return Err(Error::checkpoint(format!("tensor {name} has unexpected dtype {dtype:?}")));
    };
    let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
    Ok(Tensor::f_from_data_size(view.data(), &shape, *kind)?)
}
