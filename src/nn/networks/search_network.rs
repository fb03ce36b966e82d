//! The network that a search trains: a supernet of images or a language model.

use std::ops::Deref;

use tch::{Kind, Tensor};

use crate::config::SearchConfig;
use crate::data::{Batch, check_tokens};
use crate::error::Result;
use crate::nn::{LanguageModel, LanguageOptions, Mode, Network, NetworkOptions, Parts, Supernet};
use crate::params::copy;
use crate::plan::{DropoutTarget, Plan};

/// A network of images or of words.
pub enum SearchNetwork {
    /// A network of images.
    Images(Box<Supernet>),
    /// A network of words.
    Words(Box<LanguageModel>),
}

impl SearchNetwork {
    /// The network of a lowered plan.
    pub fn new(plan: Plan, config: &SearchConfig, options: NetworkOptions) -> Result<Self> {
        if plan.recurrence.is_none() {
            return Ok(SearchNetwork::Images(Box::new(Supernet::new(plan, options)?)));
        }
        let model = LanguageModel::new(plan, options, LanguageOptions::of_config(config))?;
        model.draw(0, &Parts::default())?;
        Ok(SearchNetwork::Words(Box::new(model)))
    }

    /// The rewritten plan, which the search runs.
    pub fn plan(&self) -> &Plan {
        match self {
            SearchNetwork::Images(network) => network.plan(),
            SearchNetwork::Words(network) => network.plan(),
        }
    }

    /// Writes the initial weights of the modules of user-defined operations, once.
    pub fn write_initial(&self, w: &Tensor) -> Result<()> {
        match self {
            SearchNetwork::Images(network) => network.write_initial(w),
            SearchNetwork::Words(_) => Ok(()),
        }
    }

    /// The logits of images [N, C, H, W], or of tokens [T, N].
    pub fn logits(&self, w: &Tensor, m: &Tensor, x: &Tensor, mode: Mode) -> Result<Tensor> {
        match self {
            SearchNetwork::Images(network) => {
                let x = x.f_detach()?.f_to_device(network.device())?.f_to_kind(network.kind())?;
                network.logits(w, m, &x, mode)
            }
            SearchNetwork::Words(network) => {
                check_tokens(x, network.plan().sizes.outputs() as i64, "the batch")?;
                let x = x.f_to_device(network.device())?.f_to_kind(Kind::Int64)?;
                network.logits(w, m, &Batch::new(x.shallow_clone(), x), mode)
            }
        }
    }

    /// The batch size of `x`: the number of images or sequences.
    pub fn examples(&self, x: &Tensor) -> i64 {
        let size = x.size();
        let extent = match self {
            SearchNetwork::Images(_) => size.first(),
            SearchNetwork::Words(_) => size.last(),
        };
        extent.copied().unwrap_or(1)
    }

    /// Copies of the dropout masks of the current step by name; those of a supernet have the sizes of the latest batches.
    pub fn masks(&self) -> Result<Vec<(String, Tensor)>> {
        let network = match self {
            SearchNetwork::Images(network) => return network.masks(),
            SearchNetwork::Words(network) => network,
        };
        let masks = network.masks();
        let named = |target: DropoutTarget| Some((target.name().to_owned(), masks.at(target)?));
        DropoutTarget::ALL.into_iter().filter_map(named).map(|(name, mask)| Ok((name, copy(mask)?))).collect()
    }
}

impl Deref for SearchNetwork {
    type Target = dyn Network;

    fn deref(&self) -> &Self::Target {
        match self {
            SearchNetwork::Images(network) => &**network,
            SearchNetwork::Words(network) => &**network,
        }
    }
}

impl From<SearchNetwork> for Box<dyn Network> {
    fn from(network: SearchNetwork) -> Self {
        match network {
            SearchNetwork::Images(network) => network,
            SearchNetwork::Words(network) => network,
        }
    }
}
