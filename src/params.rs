//! Named slices of flat tensors: all weights are one vector, all logits α another.
//!
//! The algorithm works on vectors (w′ = w − ξ∇L, w ± εv, clipping, momentum); state dicts and files use names. A
//! [`Table`] maps one to the other.

use std::collections::HashMap;
use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use crate::config::ArchInit;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Init, Plan};
use crate::random;

/// One named slice of the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in state dicts and files.
    pub name: String,
    /// The shape.
    pub shape: Vec<i64>,
    /// The offset in the vector.
    pub offset: i64,
    /// The number of elements.
    pub length: i64,
}

/// The order, names and shapes inside one flat vector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    entries: Vec<Entry>,
    lengths: Vec<i64>,
    /// The index of each entry by name.
    indices: HashMap<String, usize>,
}

impl Table {
    /// A table of consecutive slices.
    pub fn new(items: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        let mut table = Table::default();
        let mut offset = 0;
        for (name, shape) in items {
            let shape: Vec<i64> = shape.into_iter().map(|n| n as i64).collect();
            let length = shape.iter().product();
            table.lengths.push(length);
            table.indices.insert(name.clone(), table.entries.len());
            table.entries.push(Entry { name, shape, offset, length });
            offset += length;
        }
        table
    }

    /// The weights of a plan, in the plan's order.
    pub fn of_weights(plan: &Plan) -> Self {
        Table::new(plan.weights.iter().map(|w| (w.name.clone(), w.shape.clone())))
    }

    /// The logits of a plan: one [rows, columns] table per kind of cell.
    pub fn of_alphas(plan: &Plan) -> Self {
        Table::new(plan.alphas.iter().map(|a| (a.name.clone(), vec![a.rows.len(), a.columns])))
    }

    /// The mixing weights of a plan: tables of the shapes of the logits', then the constant ones.
    pub fn of_mixing(plan: &Plan) -> Self {
        Table::new(plan.mixing_tables().map(|a| (a.name.clone(), vec![a.rows.len(), a.columns])))
    }

    /// The batch norms of a plan by width; running mean and running variance are one vector each.
    pub fn of_statistics(plan: &Plan) -> Self {
        Table::new(plan.statistics.iter().map(|s| (s.name.clone(), vec![s.width])))
    }

    /// The entries in the order of the vector.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The place of an entry among [`Table::entries`].
    pub fn index(&self, name: &str) -> Option<usize> {
        self.indices.get(name).copied()
    }

    /// The offset and length of consecutive entries, given by name.
    pub fn run<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(i64, i64)> {
        let mut run: Option<(i64, i64)> = None;
        for name in names {
            let entry = self.indices.get(name).map(|index| &self.entries[*index]);
            let entry = entry.ok_or_else(|| Error::engine(format!("the vector has no entry {name}")))?;
            run = match run {
                None => Some((entry.offset, entry.length)),
                Some((offset, length)) if offset + length == entry.offset => Some((offset, length + entry.length)),
                Some(_) => {
                    return Err(Error::engine(format!(
                        "{name} does not follow the other members of its group in the vector"
                    )));
                }
            };
        }
        run.ok_or_else(|| Error::engine("a group has no members"))
    }

    /// The length of the vector.
    pub fn total(&self) -> i64 {
        self.lengths.iter().sum()
    }

    /// Every slice as a view in its own shape. All views are one node of the autograd graph, whose backward is a single
    /// concatenation.
    pub fn views(&self, flat: &Tensor) -> Result<Vec<Tensor>> {
        let parts = flat.f_split_with_sizes(self.lengths.as_slice(), 0)?;
        parts.iter().zip(&self.entries).map(|(part, entry)| Ok(part.f_view(entry.shape.as_slice())?)).collect()
    }

    /// Detached copies of all slices by name.
    pub fn unpack(&self, flat: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let _guard = tch::no_grad_guard();
        let views = self.views(&flat.f_detach()?)?;
        views.iter().zip(&self.entries).map(|(view, e)| Ok((e.name.clone(), copy(view)?))).collect()
    }

    /// A flat vector from named tensors. Names and shapes must be exactly those of the table; the error lists tensors
    /// that are missing, unknown or of another shape.
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

/// The first few faults, then the number of others: the state of another network has thousands.
fn list_faults(what: &str, faults: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = faults[..faults.len().min(SHOWN)].join("; ");
    match faults.len().saturating_sub(SHOWN) {
        0 => format!("{what}: {shown}"),
        more => format!("{what}: {shown}; and {more} more"),
    }
}

/// Initial weights as PyTorch's default layers draw them. Each is a function of (seed, name), independent of the order
/// of the vector.
pub fn initial_weights(plan: &Plan, seed: u64, kind: Kind, device: Device) -> Result<Tensor> {
    // libtorch returns an error if there is no memory for all weights, whereas allocating a Vec would abort the
    // process.
    let all = Tensor::f_empty([Table::of_weights(plan).total()], (kind, Device::Cpu))?;
    let mut offset = 0;
    for weight in &plan.weights {
        let n = weight.shape.iter().product::<usize>();
        let within = |bound: f64| random::uniform(seed, &weight.name, 0, n, -bound, bound);
        let mut part = all.f_narrow(0, offset, n as i64)?;
        let values = match weight.init {
            Init::Own => Tensor::f_zeros([n as i64], (Kind::Double, Device::Cpu))?,
            Init::Constant(value) => Tensor::f_full([n as i64], value, (Kind::Double, Device::Cpu))?,
            Init::FanIn(fan_in) => Tensor::f_from_slice(&within(1.0 / (fan_in as f64).sqrt()))?,
            Init::Within(bound) => Tensor::f_from_slice(&within(bound))?,
        };
        part.f_copy_(&values)?;
        offset += n as i64;
    }
    Ok(all.f_to_device(device)?)
}

/// Initial logits, 1e-3·N(0, 1): nearly uniform mixtures (section 3 of the paper's published search). Padding is 0.
pub fn initial_alphas(plan: &Plan, init: ArchInit, seed: u64, kind: Kind, device: Device) -> Result<Tensor> {
    let mut values = Vec::new();
    for alpha in &plan.alphas {
        let draw = random::normal(seed, &format!("alpha.{}", alpha.name), 0, alpha.rows.len() * alpha.columns);
        let holds = |index: usize| alpha.holds(index / alpha.columns, index % alpha.columns);
        values.extend(draw.into_iter().enumerate().map(|(index, z)| if holds(index) { init.logit(z) } else { 0.0 }));
    }
    Ok(Tensor::f_from_slice(&values)?.f_to_device(device)?.f_to_kind(kind)?)
}

/// An error if some logits of flat α are NaN or infinite; it names the first.
pub fn check_alphas(table: &Table, alpha: &Tensor) -> Result<()> {
    let bad = alpha.f_isfinite()?.f_logical_not()?.f_nonzero()?;
    if bad.numel() == 0 {
        return Ok(());
    }
    let index = bad.f_int64_value(&[0, 0])?;
    let entry = table.entries().iter().find(|entry| index < entry.offset + entry.length);
    let place = entry.map(|entry| {
        let columns = entry.shape.last().map_or(1, |columns| (*columns).max(1));
        let within = index - entry.offset;
        format!(" `{}`, row {}, column {}", entry.name, within / columns, within % columns)
    });
    Err(Error::data(format!(
        "expected finite logits, got {} in α table{}; leave an operation out of the space instead of masking it by \
         its logit",
        alpha.f_double_value(&[index])?,
        place.unwrap_or_default()
    )))
}

/// A host tensor on a device. A GPU copies it asynchronously from pinned memory.
pub fn upload(tensor: &Tensor, device: Device) -> Result<Tensor> {
    match device.is_cuda() {
        // `pin_memory` itself warns about its device argument at every call.
        true => Ok(tensor.f_internal_pin_memory(device)?.f_to_device_(device, tensor.f_kind()?, true, false)?),
        false => Ok(tensor.f_to_device(device)?),
    }
}

/// A detached copy with its own storage.
pub fn copy(tensor: &Tensor) -> Result<Tensor> {
    let _guard = tch::no_grad_guard();
    let mut out = tensor.f_empty_like()?;
    out.f_copy_(tensor)?;
    Ok(out)
}

/// Takes the exception of a user's code that libtorch called, such as a backward pass in Python.
type Raised = fn() -> Option<Error>;

static RAISED: OnceLock<Raised> = OnceLock::new();

/// Has errors of libtorch asked for the exception of a user's code that caused them.
pub fn ask_for_exceptions(raised: Raised) {
    let _ = RAISED.set(raised);
}

impl From<tch::TchError> for Error {
    /// Keeps the first line of libtorch's text, which says what happened. Out of memory is a separate kind.
    fn from(error: tch::TchError) -> Self {
        if let Some(raised) = RAISED.get().and_then(|raised| raised()) {
            return raised;
        }
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
