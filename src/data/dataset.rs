//! A data set on the network's device, and the batches that views of it yield: a batch is one gather, normalised and
//! augmented as a whole.

use std::sync::{Arc, Mutex, Weak};

use tch::{Device, Kind, Tensor};

use super::augment::{Augmentation, Draw};
use super::{Batch, Role, Source};
use crate::error::{Error, Result};
use crate::params::{copy, upload};
use crate::random;
use crate::ranks::Share;

/// Images and labels. All sources that read them at the same time share one upload to the device, which is freed with
/// the last of them.
#[derive(Debug)]
pub struct Dataset(Mutex<Examples>);

#[derive(Debug)]
struct Examples {
    given: Held,
    /// The last upload and its device.
    uploaded: Option<(Device, Weak<Mutex<Held>>)>,
}

/// The tensors on a device. A tensor can be sent to another thread but not shared, hence the lock.
type Upload = Arc<Mutex<Held>>;

/// Images [N, C, H, W] or sequences [N, C, L], uint8 or floating, and targets [N, …].
#[derive(Debug)]
struct Held {
    x: Tensor,
    y: Tensor,
}

impl Held {
    fn share(&self) -> Held {
        Held { x: self.x.shallow_clone(), y: self.y.shallow_clone() }
    }
}

impl Dataset {
    /// The data set of images `x` [N, C, H, W] or sequences [N, C, L], uint8 or floating, and targets `y` [N, …]: int64
    /// labels [N], or others.
    ///
    /// Images share the memory of `x`, because a copy would double the memory they take. Writing into `x` during a search
    /// therefore changes the search. Targets are copied.
    pub fn new(x: &Tensor, y: &Tensor) -> Result<Dataset> {
        if !matches!(x.dim(), 3 | 4) || y.size().first() != Some(&x.size()[0]) {
            return Err(Error::data(format!(
                "arrays are images [N, C, H, W] or sequences [N, C, L], and targets [N, ...]; got shapes {:?} and {:?}",
                x.size(),
                y.size()
            )));
        }
        let given = Held { x: x.f_detach()?.f_contiguous()?, y: copy(&y.f_detach()?)? };
        Ok(Dataset(Mutex::new(Examples { given, uploaded: None })))
    }

    /// The shape of the images, [C, H, W], or sequences, [C, L].
    pub fn image_shape(&self) -> Result<Vec<i64>> {
        let examples = self.0.lock().map_err(|_| Error::engine("a thread failed while it used this data set"))?;
        Ok(examples.given.x.size()[1..].to_vec())
    }

    /// The tensors on `device`, and the upload to hold while they are read.
    fn on(&self, device: Device) -> Result<(Held, Upload)> {
        let poisoned = || Error::engine("a thread failed while it used this data set");
        let mut examples = self.0.lock().map_err(|_| poisoned())?;
        let live =
            examples.uploaded.as_ref().filter(|(place, _)| *place == device).and_then(|(_, held)| held.upgrade());
        let upload = match live {
            Some(upload) => upload,
            None => {
                let Held { x, y } = &examples.given;
                let held = Held { x: x.f_to_device(device)?, y: y.f_to_device(device)? };
                let upload = Arc::new(Mutex::new(held));
                examples.uploaded = Some((device, Arc::downgrade(&upload)));
                upload
            }
        };
        let held = upload.lock().map_err(|_| poisoned())?.share();
        Ok((held, upload))
    }
}

/// The constants that each channel is shifted and divided by, after uint8 images are scaled to [0, 1].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Normalization {
    /// Per channel; `None` subtracts nothing.
    pub mean: Option<Vec<f64>>,
    /// Per channel; `None` divides by 1.
    pub std: Option<Vec<f64>>,
}

impl Normalization {
    /// The constants for examples of this shape, [C, H, W] or [C, L].
    pub fn prepare(&self, shape: &[i64], kind: Kind, device: Device) -> Result<Scale> {
        let channels = shape.first().copied().unwrap_or(0);
        if self.mean.is_none() && self.std.is_none() {
            return Ok(Scale { kind, constants: None });
        }
        let shaped = |values: &Option<Vec<f64>>, otherwise: f64, name: &str| -> Result<Tensor> {
            let values = values.clone().unwrap_or_else(|| vec![otherwise; channels as usize]);
            if values.len() as i64 != channels {
                let given = values.len();
                return Err(Error::data(format!("`{name}` has {given} values; the images have {channels} channels")));
            }
            let tensor = Tensor::f_from_slice(&values)?.f_to_kind(kind)?.f_to_device(device)?;
            let mut broadcast = vec![1; shape.len() + 1];
            broadcast[1] = channels;
            Ok(copy(&tensor)?.f_view(broadcast.as_slice())?)
        };
        let constants = (shaped(&self.mean, 0.0, "mean")?, shaped(&self.std, 1.0, "std")?);
        Ok(Scale { kind, constants: Some(constants) })
    }
}

/// A normalisation whose constants are on the device, in the dtype of the batches.
#[derive(Debug)]
pub struct Scale {
    kind: Kind,
    constants: Option<(Tensor, Tensor)>,
}

impl Scale {
    /// Images as numbers: uint8 scaled to [0, 1], others converted.
    fn numbers(&self, images: &Tensor) -> Result<Tensor> {
        let x = images.f_to_kind(self.kind)?;
        if images.f_kind()? == Kind::Uint8 { Ok(x.f_div_scalar(255.0)?) } else { Ok(x) }
    }

    fn normalize(&self, x: Tensor) -> Result<Tensor> {
        match &self.constants {
            Some((mean, std)) => Ok(x.f_sub(mean)?.f_div(std)?),
            None => Ok(x),
        }
    }

    /// Images [N, C, H, W], or sequences [N, C, L], as the inputs of a network.
    pub fn apply(&self, images: &Tensor) -> Result<Tensor> {
        self.normalize(self.numbers(images)?)
    }
}

/// The part of a data set that a source reads, and how.
#[derive(Debug, Clone)]
pub struct View {
    /// The examples; `None`: all of them.
    pub indices: Option<Vec<i64>>,
    /// What the batches are used for.
    pub role: Role,
    /// Examples per batch.
    pub batch_size: usize,
    /// Applied to every image.
    pub normalization: Normalization,
    /// The share of each batch.
    pub share: Share,
}

/// Batches of a view of a [`Dataset`].
#[derive(Debug)]
pub struct ArraySource {
    examples: Held,
    /// Keeps the upload alive for sources that are opened later.
    _upload: Upload,
    indices: Vec<i64>,
    role: Role,
    batch_size: usize,
    augmentation: Augmentation,
    seed: u64,
    scale: Scale,
    share: Share,
    pass: u64,
    /// The examples of the pass, on the device: uploaded once per pass, because the host waits for each upload.
    order: Tensor,
    position: usize,
}

impl ArraySource {
    /// Batches of `view`, in `kind` on `device`. Evaluation ignores `augmentation`.
    pub fn new(
        dataset: &Dataset,
        view: View,
        augmentation: Augmentation,
        seed: u64,
        kind: Kind,
        device: Device,
    ) -> Result<Self> {
        let View { indices, role, batch_size, normalization, share } = view;
        let (examples, upload) = dataset.on(device)?;
        let (n, shape) = (examples.x.size()[0], examples.x.size().split_off(1));
        let indices = indices.unwrap_or_else(|| (0..n).collect());
        if let Some(bad) = indices.iter().find(|&&i| i < 0 || i >= n) {
            return Err(Error::data(format!("index {bad} is outside the {n} examples")));
        }
        let fewest = if role == Role::Evaluation { 1 } else { batch_size };
        if indices.len() < fewest {
            return Err(Error::data(format!(
                "{} {} examples do not fill one batch of {batch_size}; lower batch_size or give more data",
                indices.len(),
                role.name()
            )));
        }
        let augmentation = if role == Role::Evaluation { Augmentation::default() } else { augmentation };
        Ok(ArraySource {
            scale: normalization.prepare(&shape, kind, device)?,
            examples,
            _upload: upload,
            indices,
            role,
            batch_size,
            augmentation,
            seed,
            share,
            pass: 0,
            order: Tensor::f_zeros([0], (Kind::Int64, Device::Cpu))?,
            position: 0,
        })
    }

    /// All targets of the data set, [N, …].
    pub fn targets(&self) -> &Tensor {
        &self.examples.y
    }

    /// The number of examples in the smallest batch of a pass.
    pub fn smallest(&self) -> usize {
        let smallest = match (self.role, self.indices.len() % self.batch_size) {
            (Role::Evaluation, rest) if rest > 0 => rest,
            _ => self.batch_size,
        };
        self.share.range(smallest as i64).1 as usize
    }

    /// The own share of the batch of these examples. Every rank draws for all of them.
    fn gather(&self, index: &Tensor) -> Result<Batch> {
        let (first, count) = self.share.range(index.numel() as i64);
        let all = index.numel();
        let index = &index.f_narrow(0, first, count)?;
        let mut x = self.scale.numbers(&self.examples.x.f_index_select(0, index)?)?;
        let draw = || {
            let batch = (self.position / self.batch_size) as u64;
            let purpose = format!("augment.{}.{batch}", self.role.name());
            Draw::new((self.seed, &purpose, self.pass), all, first as usize..(first + count) as usize)
        };
        if self.augmentation.crop_and_flip {
            x = draw().crop_and_flip(&x)?;
        }
        x = self.scale.normalize(x)?;
        if self.augmentation.cutout > 0 {
            x = draw().cutout(&x, self.augmentation.cutout)?;
        }
        Ok(Batch::new(x, self.examples.y.f_index_select(0, index)?))
    }
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
                let purpose = format!("order.{}", self.role.name());
                let order = random::permutation(self.seed, &purpose, index, self.indices.len());
                let kept = self.batches().unwrap_or(0) * self.batch_size;
                order.into_iter().take(kept).map(|i| self.indices[i]).collect()
            }
        };
        self.order = upload(&Tensor::f_from_slice(&order)?, self.examples.x.device())?;
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
