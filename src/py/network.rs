//! Networks that read images and networks that read words, behind one face.

use std::ops::Deref;

use tch::{Device, Kind, Tensor};

use crate::config::SearchConfig;
use crate::data::{Batch, Expected, admit_tokens, check_tokens};
use crate::error::{Error, Result};
use crate::nn::{Dropout, LanguageModel, LanguageOptions, Mode, Network, Supernet, SupernetOptions};
use crate::params::copy;
use crate::plan::{Geometry, Language, Place, Plan, Sizes};
use crate::space::CellKind;

/// The plain plan of a configuration, all of whose sizes must be known by now.
pub fn lower(config: &SearchConfig) -> Result<Plan> {
    let missing = |field: &str| Error::config(format!("`{field}` is not known; give it, or data to read it from"));
    let num_classes = config.num_classes.ok_or_else(|| missing("num_classes"))?;
    if config.space.kind == CellKind::Recurrent {
        return Plan::lower_language(&config.space, &Language { words: num_classes, units: config.units });
    }
    let geometry = Geometry {
        channels: config.channels,
        layers: config.layers,
        num_classes,
        in_channels: config.in_channels.ok_or_else(|| missing("in_channels"))?,
        image_size: config.image_size.ok_or_else(|| missing("image_size"))?,
    };
    Plan::lower(&config.space, &geometry)
}

/// What batches of a plan must be.
pub enum Admission {
    Images(Expected),
    Words { words: i64, bptt: usize, device: Device },
}

impl Admission {
    pub fn new(plan: &Plan, config: &SearchConfig, kind: Kind, device: Device) -> Self {
        match plan.sizes {
            Sizes::Images(geometry) => Admission::Images(Expected {
                shape: plan.input_shape.0.iter().map(|&n| n as i64).collect(),
                classes: geometry.num_classes as i64,
                kind,
                device,
            }),
            Sizes::Words(language) => Admission::Words { words: language.words as i64, bptt: config.bptt, device },
        }
    }

    /// Checks a batch, and moves it to dtype and device; `what` names it in errors.
    pub fn admit(&self, x: &Tensor, y: &Tensor, what: &str) -> Result<Batch> {
        match self {
            Admission::Images(expected) => expected.admit(x, y, what),
            Admission::Words { words, bptt, device } => {
                let batch = admit_tokens(x, y, *words, *device, what)?;
                let pace = batch.inputs.size()[0] as f64 / *bptt as f64;
                Ok(Batch { begins: false, pace, ..batch })
            }
        }
    }
}

/// A network of either kind.
pub enum Built {
    Images(Box<Supernet>),
    Words(Box<LanguageModel>),
}

impl Built {
    pub fn new(plan: Plan, config: &SearchConfig, options: SupernetOptions) -> Result<Self> {
        if plan.recurrence.is_none() {
            return Ok(Built::Images(Box::new(Supernet::new(plan, options)?)));
        }
        let dropout = Dropout {
            rows: config.dropout_rows,
            embedded: config.dropout_embedded,
            input: config.dropout_input,
            hidden: config.dropout_hidden,
            output: config.dropout_output,
        };
        let options = LanguageOptions {
            kind: options.kind,
            compute: options.compute,
            device: options.device,
            criterion: options.criterion,
            tf32: options.tf32,
            switch: options.switch,
            passes: options.passes,
            dropout,
            slowness: config.slowness,
            seed: config.seed,
            batch: config.batch_size.examples() as i64,
            tokens: config.bptt,
        };
        let model = LanguageModel::new(plan, options)?;
        model.draw(0)?;
        Ok(Built::Words(Box::new(model)))
    }

    pub fn plan(&self) -> &Plan {
        match self {
            Built::Images(network) => network.plan(),
            Built::Words(network) => network.plan(),
        }
    }

    /// Of images [N, C, H, W], or of tokens [T, N].
    pub fn logits(&self, w: &Tensor, alpha: &Tensor, x: &Tensor, mode: Mode) -> Result<Tensor> {
        match self {
            Built::Images(network) => {
                let x = x.f_detach()?.f_to_device(network.device())?.f_to_kind(network.kind())?;
                network.logits(w, alpha, &x, mode)
            }
            Built::Words(network) => {
                check_tokens(x, network.plan().sizes.outputs() as i64, "the batch")?;
                let x = x.f_to_device(network.device())?.f_to_kind(Kind::Int64)?;
                network.logits(w, alpha, &Batch::new(x.shallow_clone(), x), mode)
            }
        }
    }

    /// Of a batch: images, or texts side by side.
    pub fn examples(&self, x: &Tensor) -> i64 {
        let size = x.size();
        let extent = match self {
            Built::Images(_) => size.first(),
            Built::Words(_) => size.last(),
        };
        extent.copied().unwrap_or(1)
    }

    /// Dropout masks of the current step by place: copies.
    pub fn masks(&self) -> Result<Vec<(String, Tensor)>> {
        let Built::Words(network) = self else { return Ok(Vec::new()) };
        let masks = network.masks();
        let named = |place: Place| Some((place.name().to_owned(), masks.at(place)?));
        Place::ALL.into_iter().filter_map(named).map(|(name, mask)| Ok((name, copy(mask)?))).collect()
    }
}

impl Deref for Built {
    type Target = dyn Network;

    fn deref(&self) -> &Self::Target {
        match self {
            Built::Images(network) => &**network,
            Built::Words(network) => &**network,
        }
    }
}
