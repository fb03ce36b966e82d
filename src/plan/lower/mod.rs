//! Lowering: from a space and the sizes of a network to the plain plan, one instruction per layer.

mod auxiliary;
mod cell;
mod network;
mod operations;
mod partial;
mod recurrent;
mod residual;
mod writer;

use crate::config::SearchConfig;
use crate::error::{Error, Result};
use crate::plan::{Geometry, Language, Makers, Plan};
use crate::space::Reads;

impl Plan {
    /// The plain plan of a configuration whose sizes are all set; `makers` make the modules of user-defined operations.
    pub fn of_config(config: &SearchConfig, makers: Option<&dyn Makers>) -> Result<Plan> {
        let missing = |field: &str| Error::config(format!("`{field}` is not known; pass it, or data to read it from"));
        let num_classes = config.network.num_classes.ok_or_else(|| missing("num_classes"))?;
        if config.space.reads() == Reads::Words {
            return Plan::lower_language(&config.space, &Language { words: num_classes, units: config.network.units });
        }
        let geometry = Geometry {
            channels: config.network.channels,
            layers: config.network.layers,
            num_classes,
            in_channels: config.network.in_channels.ok_or_else(|| missing("in_channels"))?,
            image_size: config.network.image_size.ok_or_else(|| missing("image_size"))?,
        };
        Plan::lower_with(&config.space, &geometry, config.network.edges(), makers)
    }
}
