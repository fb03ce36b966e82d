//! Named slices of one flat tensor: all weights are one vector, all mixture logits α another.
//!
//! The vector is what the method speaks of (w′ = w − ξ∇L, w ± εv, clipping, momentum); the names are what
//! people and files speak of. A [`Table`] maps one to the other.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Init, Plan};
use crate::random;

/// One named slice of the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As in state dicts and files.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Where it begins in the vector.
    pub offset: i64,
    /// How many numbers it has.
    pub length: i64,
}

/// The order, names and shapes inside one flat vector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    entries: Vec<Entry>,
    lengths: Vec<i64>,
    places: HashMap<String, usize>,
}

impl Table {
    /// Lays the items one after another.
    pub fn new(items: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        let mut table = Table::default();
        let mut offset = 0;
        for (name, shape) in items {
            let shape: Vec<i64> = shape.into_iter().map(|n| n as i64).collect();
            let length = shape.iter().product();
            table.lengths.push(length);
            table.places.insert(name.clone(), table.entries.len());
            table.entries.push(Entry { name, shape, offset, length });
            offset += length;
        }
        table
    }

    /// The weights of a plan, in the plan's order.
    pub fn of_weights(plan: &Plan) -> Self {
        Table::new(plan.weights.iter().map(|w| (w.name.clone(), w.shape.clone())))
    }

    /// The mixture logits of a plan: one [edges, operations] table per kind of cell.
    pub fn of_alphas(plan: &Plan) -> Self {
        Table::new(plan.alphas.iter().map(|a| (a.name.clone(), vec![a.edges, a.operations])))
    }

    /// The width of every batch norm: running mean and running variance are a vector each.
    pub fn of_statistics(plan: &Plan) -> Self {
        Table::new(plan.statistics.iter().map(|s| (s.name.clone(), vec![s.width])))
    }

    /// In the order of the vector.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Offset and length of entries that lie one after the other, given by name.
    pub fn run<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(i64, i64)> {
        let mut run: Option<(i64, i64)> = None;
        for name in names {
            let entry = self.places.get(name).map(|place| &self.entries[*place]);
            let entry = entry.ok_or_else(|| Error::engine(format!("{name} has no place in the vector")))?;
            run = match run {
                None => Some((entry.offset, entry.length)),
                Some((offset, length)) if offset + length == entry.offset => Some((offset, length + entry.length)),
                Some(_) => return Err(Error::engine(format!("{name} does not lie where its group does"))),
            };
        }
        run.ok_or_else(|| Error::engine("a group without members"))
    }

    /// Length of the flat vector.
    pub fn total(&self) -> i64 {
        self.lengths.iter().sum()
    }

    /// Every slice as a view in its own shape. One node of the autograd graph for all of them: its backward
    /// is a single concatenation.
    pub fn views(&self, flat: &Tensor) -> Result<Vec<Tensor>> {
        let parts = flat.f_split_with_sizes(self.lengths.as_slice(), 0)?;
        parts.iter().zip(&self.entries).map(|(part, entry)| Ok(part.f_view(entry.shape.as_slice())?)).collect()
    }

    /// Every slice by name: detached copies that share nothing with `flat`.
    pub fn unpack(&self, flat: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let _guard = tch::no_grad_guard();
        let views = self.views(&flat.f_detach()?)?;
        views.iter().zip(&self.entries).map(|(view, e)| Ok((e.name.clone(), copy(view)?))).collect()
    }

    /// A flat vector from named tensors. Names and shapes must be exactly those of the table; what is
    /// missing, unknown or of another shape is listed in the error.
    pub fn pack(&self, tensors: &[(String, Tensor)], kind: Kind, device: Device) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let given: HashMap<&str, &Tensor> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let mut faults = Vec::new();
        let mut parts = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            match given.get(entry.name.as_str()) {
                None => faults.push(format!("missing {}", entry.name)),
                Some(t) if t.size() != entry.shape => {
                    faults.push(format!("{} has shape {:?}, expected {:?}", entry.name, t.size(), entry.shape));
                }
                Some(t) => parts.push(t.f_detach()?.f_to_device(device)?.f_to_kind(kind)?.f_reshape([-1])?),
            }
        }
        let known: HashMap<&str, ()> = self.entries.iter().map(|e| (e.name.as_str(), ())).collect();
        faults.extend(
            tensors.iter().filter(|(n, _)| !known.contains_key(n.as_str())).map(|(n, _)| format!("unknown {n}")),
        );
        if !faults.is_empty() {
            return Err(Error::data(list_faults("tensors by name do not match the network", &faults)));
        }
        if parts.is_empty() {
            return Ok(Tensor::f_zeros([0], (kind, device))?);
        }
        Ok(Tensor::f_cat(&parts, 0)?)
    }
}

/// The first few faults in full, then a count: a wrong network has thousands.
fn list_faults(what: &str, faults: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = faults[..faults.len().min(SHOWN)].join("; ");
    match faults.len().saturating_sub(SHOWN) {
        0 => format!("{what}: {shown}"),
        more => format!("{what}: {shown}; and {more} more"),
    }
}

/// Initial weights as PyTorch's default layers draw them. Each is a function of (seed, name), so that the
/// order a plan gives to the vector changes nothing.
pub fn initial_weights(plan: &Plan, seed: u64, kind: Kind, device: Device) -> Result<Tensor> {
    // libtorch says so where there is no memory for all of them; a vector of ours would end the process.
    let all = Tensor::f_empty([Table::of_weights(plan).total()], (kind, Device::Cpu))?;
    let mut offset = 0;
    for weight in &plan.weights {
        let n = weight.shape.iter().product::<usize>();
        let within = |bound: f64| random::uniform(seed, &weight.name, 0, n, -bound, bound);
        let mut part = all.f_narrow(0, offset, n as i64)?;
        let values = match weight.init {
            Init::Constant(value) => Tensor::f_full([n as i64], value, (Kind::Double, Device::Cpu))?,
            Init::FanIn(fan_in) => Tensor::f_from_slice(&within(1.0 / (fan_in as f64).sqrt()))?,
            Init::Within(bound) => Tensor::f_from_slice(&within(bound))?,
        };
        part.f_copy_(&values)?;
        offset += n as i64;
    }
    Ok(all.f_to_device(device)?)
}

/// Initial logits, 1e-3·N(0, 1): nearly uniform mixtures (section 3 of the paper's published search).
pub fn initial_alphas(plan: &Plan, seed: u64, kind: Kind, device: Device) -> Result<Tensor> {
    let mut values = Vec::new();
    for alpha in &plan.alphas {
        let draw = random::normal(seed, &format!("alpha.{}", alpha.name), 0, alpha.edges * alpha.operations);
        values.extend(draw.into_iter().map(|z| 1e-3 * z));
    }
    Ok(Tensor::f_from_slice(&values)?.f_to_device(device)?.f_to_kind(kind)?)
}

/// A tensor of the host on a device. A GPU reads it by itself, from memory that stays where it is, and nobody waits.
pub fn upload(tensor: &Tensor, device: Device) -> Result<Tensor> {
    match device.is_cuda() {
        // What `pin_memory` calls: with a device it warns at every call that it needs none.
        true => Ok(tensor.f_internal_pin_memory(device)?.f_to_device_(device, tensor.f_kind()?, true, false)?),
        false => Ok(tensor.f_to_device(device)?),
    }
}

/// A copy with storage of its own, outside any graph.
pub fn copy(tensor: &Tensor) -> Result<Tensor> {
    let _guard = tch::no_grad_guard();
    let mut out = tensor.f_empty_like()?;
    out.f_copy_(tensor)?;
    Ok(out)
}

impl From<tch::TchError> for Error {
    /// libtorch's own text is long; its first line says what happened. Out of memory is a kind of its own.
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        let lower = text.to_lowercase();
        let kind = if lower.contains("out of memory") || lower.contains("can't allocate memory") {
            ErrorKind::OutOfMemory
        } else {
            ErrorKind::Engine
        };
        Error::new(kind, format!("libtorch: {line}")).with_source(error)
    }
}
