//! Examples that live on the device: a batch is one gather, scaled and augmented as a whole.

use tch::{Device, Kind, Tensor};

use super::augment::{Augmentation, Draw};
use super::{Batch, Source};
use crate::error::{Error, Result};
use crate::params::{copy, upload};
use crate::random;

/// What a source of examples is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Batches of the weight step: shuffled, augmented, a partial last batch dropped.
    Train,
    /// Batches of the α step: as for the weight step, from a stream of its own.
    Valid,
    /// In order, not augmented, with the partial last batch.
    Evaluation,
}

impl Role {
    fn purpose(self) -> &'static str {
        match self {
            Role::Train => "train",
            Role::Valid => "valid",
            Role::Evaluation => "evaluation",
        }
    }
}

/// A data set and how its images become inputs.
#[derive(Debug)]
pub struct Arrays {
    /// [N, C, H, W], uint8 or floating.
    pub x: Tensor,
    /// [N] int64.
    pub y: Tensor,
    /// Per channel, applied after uint8 has been scaled to [0, 1].
    pub mean: Option<Vec<f64>>,
    /// Per channel, divided by after `mean` is subtracted.
    pub std: Option<Vec<f64>>,
}

impl Arrays {
    /// The data where the network computes; shares storage where it already lies there.
    pub fn to_device(&self, device: Device) -> Result<Arrays> {
        Ok(Arrays {
            x: self.x.f_to_device(device)?,
            y: self.y.f_to_device(device)?,
            mean: self.mean.clone(),
            std: self.std.clone(),
        })
    }
}

/// Batches of some of the examples of [`Arrays`].
#[derive(Debug)]
pub struct ArraySource {
    arrays: Arrays,
    indices: Vec<i64>,
    role: Role,
    batch_size: usize,
    augmentation: Augmentation,
    seed: u64,
    kind: Kind,
    scale: Option<(Tensor, Tensor)>,
    pass: u64,
    /// The examples of the pass, where the data lie: taken there once a pass, for each time the host waits for the
    /// device.
    order: Tensor,
    position: usize,
}

impl ArraySource {
    /// Batches of the examples at `indices` (all of them by default), in `kind`.
    pub fn new(
        arrays: Arrays,
        indices: Option<Vec<i64>>,
        role: Role,
        batch_size: usize,
        augmentation: Augmentation,
        seed: u64,
        kind: Kind,
    ) -> Result<Self> {
        let n = arrays.x.size()[0];
        let indices = indices.unwrap_or_else(|| (0..n).collect());
        if let Some(bad) = indices.iter().find(|&&i| i < 0 || i >= n) {
            return Err(Error::data(format!("index {bad} is outside the {n} examples")));
        }
        let fewest = if role == Role::Evaluation { 1 } else { batch_size };
        if indices.len() < fewest {
            return Err(Error::data(format!(
                "{} {} examples do not fill one batch of {batch_size}; lower batch_size or give more data",
                indices.len(),
                role.purpose()
            )));
        }
        let scale = channel_scale(&arrays, kind)?;
        let augmentation = if role == Role::Evaluation { Augmentation::default() } else { augmentation };
        Ok(ArraySource {
            arrays,
            indices,
            role,
            batch_size,
            augmentation,
            seed,
            kind,
            scale,
            pass: 0,
            order: Tensor::f_zeros([0], (Kind::Int64, Device::Cpu))?,
            position: 0,
        })
    }

    fn gather(&self, index: &Tensor) -> Result<Batch> {
        let raw = self.arrays.x.f_index_select(0, index)?;
        let mut x = raw.f_to_kind(self.kind)?;
        if raw.f_kind()? == Kind::Uint8 {
            x = x.f_div_scalar(255.0)?;
        }
        let draw = || {
            let batch = (self.position / self.batch_size) as u64;
            let purpose = format!("augment.{}.{batch}", self.role.purpose());
            Draw::new(self.seed, &purpose, self.pass, index.numel())
        };
        if self.augmentation.crop_and_flip {
            x = draw().crop_and_flip(&x)?;
        }
        if let Some((mean, std)) = &self.scale {
            x = x.f_sub(mean)?.f_div(std)?;
        }
        if self.augmentation.cutout > 0 {
            x = draw().cutout(&x, self.augmentation.cutout)?;
        }
        Ok(Batch::new(x, self.arrays.y.f_index_select(0, index)?))
    }
}

/// Mean and deviation as [1, C, 1, 1], where either is given.
fn channel_scale(arrays: &Arrays, kind: Kind) -> Result<Option<(Tensor, Tensor)>> {
    if arrays.mean.is_none() && arrays.std.is_none() {
        return Ok(None);
    }
    let channels = arrays.x.size()[1];
    let shaped = |values: &Option<Vec<f64>>, otherwise: f64, what: &str| -> Result<Tensor> {
        let values = values.clone().unwrap_or_else(|| vec![otherwise; channels as usize]);
        if values.len() as i64 != channels {
            let given = values.len();
            return Err(Error::data(format!("`{what}` has {given} values; the images have {channels} channels")));
        }
        let tensor = Tensor::f_from_slice(&values)?.f_to_kind(kind)?.f_to_device(arrays.x.device())?;
        Ok(copy(&tensor)?.f_view([1, channels, 1, 1])?)
    };
    Ok(Some((shaped(&arrays.mean, 0.0, "mean")?, shaped(&arrays.std, 1.0, "std")?)))
}

impl Source for ArraySource {
    fn batches(&self) -> Option<usize> {
        Some(match self.role {
            Role::Evaluation => self.indices.len().div_ceil(self.batch_size),
            Role::Train | Role::Valid => self.indices.len() / self.batch_size,
        })
    }

    fn start(&mut self, index: u64, skip: usize) -> Result<()> {
        self.pass = index;
        let order = match self.role {
            Role::Evaluation => self.indices.clone(),
            Role::Train | Role::Valid => {
                let purpose = format!("order.{}", self.role.purpose());
                let order = random::permutation(self.seed, &purpose, index, self.indices.len());
                let kept = self.batches().unwrap_or(0) * self.batch_size;
                order.into_iter().take(kept).map(|i| self.indices[i]).collect()
            }
        };
        self.order = upload(&Tensor::f_from_slice(&order)?, self.arrays.x.device())?;
        self.position = skip * self.batch_size;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        if self.position >= self.order.numel() {
            return Ok(None);
        }
        let end = (self.position + self.batch_size).min(self.order.numel());
        let batch = self.gather(&self.order.f_narrow(0, self.position as i64, (end - self.position) as i64)?)?;
        self.position = end;
        Ok(Some(batch))
    }
}
