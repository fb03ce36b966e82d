//! `search`: runs a search and returns its outcome as a dictionary.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::bridges::{
    Definition, PyCollective, PyObserver, criterion_of, graph_capture, measure_of, own_modules, source,
};
use super::entry;
use super::errors::to_python;
use super::inspect::named_state;
use super::json::{Lists, python};
use super::precision::numbers;
use super::tensor::{arrays, device, device_name, to_dict};
use super::terms::{GivenCost, costs};
use super::values::{PyConfig, PyGenotype};
use crate::arch::Genotype;
use crate::config::{OptimisationConfig, SearchConfig};
use crate::data::{Expected, Source};
use crate::error::Result;
use crate::nn::{Network, NetworkOptions, Relaxations, Relaxed};
use crate::plan::{Makers, Plan};
use crate::ranks::{Group, Ranks, Share};
use crate::relaxation::shown_over_time;
use crate::search::{Fingerprint, GraphCapture, Outcome, Search, Sources, State, Terms, run, start};

/// What a search begins with.
enum Beginning {
    /// A lowered plan.
    Plan(Box<Plan>),
    /// A network of the user.
    Python(Definition),
}

impl Beginning {
    /// The network, its relaxation and the state before the first step.
    fn start(self, config: &SearchConfig, options: NetworkOptions) -> Result<(Box<dyn Network>, Relaxations, State)> {
        let definition = match self {
            Beginning::Plan(plan) => {
                let (network, relaxations, initial) = start(*plan, config, options)?;
                return Ok((network.into(), relaxations, initial));
            }
            Beginning::Python(definition) => definition,
        };
        let optimisation @ OptimisationConfig { seed, arch_init, .. } = &config.optimisation;
        let (kind, device) = (options.numbers.kind, options.device);
        let relaxations = Relaxations::of(optimisation, definition.tables(), (kind, device))?;
        let (network, initial) = definition.start(options.samples, options.numbers, device, *arch_init, *seed)?;
        Ok((Box::new(network), relaxations, initial))
    }
}

#[pyfunction]
#[pyo3(signature = (config, train, valid, evaluation, observer, criterion, fingerprint, network=None, operations=None, metric=None, given_costs=Vec::new(), ranks=None))]
#[allow(clippy::too_many_arguments)] // one per argument of the Python function
pub fn search<'py>(
    py: Python<'py>,
    config: &PyConfig,
    train: &Bound<'py, PyAny>,
    valid: &Bound<'py, PyAny>,
    evaluation: &Bound<'py, PyAny>,
    observer: Py<PyAny>,
    criterion: Option<(Py<PyAny>, bool)>,
    fingerprint: BTreeMap<String, String>,
    network: Option<&Bound<'py, PyAny>>,
    operations: Option<Py<PyAny>>,
    metric: Option<Py<PyAny>>,
    given_costs: Vec<GivenCost>,
    ranks: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (config, fingerprint) = (config.value.clone(), Fingerprint(fingerprint));
    let device = device(&config.execution.device).map_err(to_python)?;
    let numbers = numbers(config.execution.precision, device).map_err(to_python)?;
    let (kind, precision) = (numbers.kind, numbers.precision());
    let own = own_modules(operations);
    let (beginning, expected, graphs) = match network {
        // Python code may behave differently at each call, so its steps are not captured.
        Some(network) => (Beginning::Python(Definition::of(network)?), Expected::Tensors { kind, device }, None),
        None => {
            let makers = own.as_deref().map(|own| own as &dyn Makers);
            let plan = Plan::of_config(&config, makers).map_err(to_python)?;
            let expected = Expected::of_plan(&plan, config.data.bptt, kind, device);
            // The host starts every sum over ranks, so such a step cannot be captured.
            let captures = own.is_none() && ranks.is_none();
            let graphs = if captures { graph_capture(py, &config, device)? } else { None };
            (Beginning::Plan(Box::new(plan)), expected, graphs)
        }
    };
    let collective = ranks.map(PyCollective::new).transpose()?;
    let share = collective.as_ref().map_or(Share::WHOLE, PyCollective::share);
    let mut train = source(train, &config, &expected, share, "training")?;
    let mut valid = source(valid, &config, &expected, share, "validation")?;
    let mut evaluation = source(evaluation, &config, &expected, share, "evaluation")?;
    // A network of functions has tables of its own and no genotype.
    let space = network.is_none().then_some(&config.space);
    let tables = match &beginning {
        Beginning::Plan(plan) => plan.alphas.clone(),
        Beginning::Python(definition) => definition.tables(),
    };
    let mut observer = PyObserver::new(py, observer, (space.cloned(), tables), kind)?;
    let options = NetworkOptions {
        own,
        measure: measure_of(metric),
        share,
        ..NetworkOptions::of_config(&config, numbers, device, criterion_of(criterion))
    };
    let (outcome, state, alphas, (genotype, architecture)) = entry::engine(py, || {
        let (network, relaxations, initial) = beginning.start(&config, options)?;
        let micro_batch = config.execution.micro_batch;
        let terms = Terms::new(&config, &relaxations, &costs(given_costs))?;
        let group = collective.as_ref().map(|collective| Group::new(collective, network.device()));
        let ranks = group.as_ref().map_or(Ranks::ALONE, Ranks::of);
        let relaxed = Relaxed { network: &*network, relaxations: &relaxations, micro_batch, ranks };
        let sources =
            Sources { train: &mut *train as &mut dyn Source, valid: &mut *valid, evaluation: &mut *evaluation };
        let search = Search {
            deciders: config.optimisation.stop.as_slice(),
            graphs: graphs.as_ref().map(|graphs| graphs as &dyn GraphCapture),
            terms: Some(&terms),
            ..Search::new(&config, &fingerprint)
        };
        let outcome = run(relaxed, search, initial, sources, &mut observer);
        // Stop the loader threads before the outcome is examined, also after an error.
        drop((train, valid, evaluation));
        let outcome = outcome?;
        let state = named_state(&*network, &outcome.state.w)?;
        let Outcome { trajectory, decisions, architecture, .. } = &outcome;
        let alphas = shown_over_time(relaxations.tables(), decisions, &trajectory.points, &trajectory.epochs)?;
        let genotype = match space.map(|space| Genotype::of_architecture(space, architecture)).transpose() {
            // The selection failed, and this would hide why.
            Err(_) if outcome.error.is_some() => None,
            found => found?,
        };
        let architecture: BTreeMap<_, _> = architecture.names(relaxations.tables()).into_iter().collect();
        Ok((outcome, state, alphas, (genotype, architecture)))
    })?;
    let Outcome { status, error, trajectory, history, decisions, computed, config, fingerprint, .. } = outcome;
    let result = PyDict::new(py);
    result.set_item("status", serde_json::json!(status).as_str())?;
    result.set_item("error", error.map(|e| to_python(e).into_value(py)))?;
    result.set_item("alphas", arrays(py, &alphas, kind)?)?;
    result.set_item("steps", trajectory.steps)?;
    result.set_item("epochs", trajectory.epochs)?;
    result.set_item("architecture", python(py, &serde_json::json!(architecture), Lists::Tuples)?)?;
    result.set_item("decisions", python(py, &serde_json::json!(decisions), Lists::Tuples)?)?;
    result.set_item("history", python(py, &serde_json::json!(history), Lists::Lists)?)?;
    result.set_item("genotype", genotype.map(PyGenotype))?;
    result.set_item("state_dict", to_dict(py, state)?)?;
    result.set_item("config", PyConfig::from(config))?;
    result.set_item("fingerprint", fingerprint.0)?;
    result.set_item("computed", computed)?;
    result.set_item("threads", tch::get_num_threads())?;
    result.set_item("device", device_name(device))?;
    result.set_item("precision", serde_json::json!(precision).as_str())?;
    Ok(result)
}
