//! The buffers of a user's network: tensors of any shape and dtype.

use tch::{Device, Tensor};

use super::Buffers;
use crate::error::{Error, Result};
use crate::params::copy;

/// Tensors by name.
#[derive(Debug)]
pub struct NamedBuffers(Vec<(String, Tensor)>);

impl NamedBuffers {
    /// Copies of these tensors on a device.
    pub fn new(tensors: &[(String, Tensor)], device: Device) -> Result<Self> {
        let own = |(name, tensor): &(String, Tensor)| Ok((name.clone(), copy(&tensor.f_to_device(device)?)?));
        tensors.iter().map(own).collect::<Result<_>>().map(NamedBuffers)
    }

    /// Whether there is a buffer of this name.
    pub fn holds(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    /// Copies of the buffers.
    pub fn copies(&self) -> Result<Vec<Tensor>> {
        self.0.iter().map(|(_, tensor)| copy(tensor)).collect()
    }

    /// The buffers, not copied.
    pub fn live(&self) -> Vec<(String, Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }
}

impl Buffers for NamedBuffers {
    fn tensors(&self) -> Vec<&Tensor> {
        self.0.iter().map(|(_, tensor)| tensor).collect()
    }

    fn named(&self) -> Result<Vec<(String, Tensor)>> {
        self.0.iter().map(|(name, tensor)| Ok((name.clone(), copy(tensor)?))).collect()
    }

    fn check(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        let given = |name: &String| tensors.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor);
        for (name, own) in &self.0 {
            let Some(tensor) = given(name) else { return Err(Error::data(format!("the buffer {name} is missing"))) };
            if (tensor.kind(), tensor.size()) != (own.kind(), own.size()) {
                return Err(Error::data(format!(
                    "expected the buffer {name} of dtype {:?} and shape {:?}, got {:?} and {:?}",
                    own.kind(),
                    own.size(),
                    tensor.kind(),
                    tensor.size()
                )));
            }
        }
        match tensors.iter().find(|(name, _)| !self.0.iter().any(|(own, _)| own == name)) {
            Some((name, _)) => Err(Error::data(format!("the network has no buffer {name}"))),
            None => Ok(()),
        }
    }

    fn load(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        self.check(tensors)?;
        let _guard = tch::no_grad_guard();
        for (name, own) in &self.0 {
            for (_, tensor) in tensors.iter().filter(|(other, _)| other == name) {
                own.shallow_clone().f_copy_(tensor)?;
            }
        }
        Ok(())
    }
}
