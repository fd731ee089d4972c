//! WorkflowService: registers and shows definitions.

use std::sync::Arc;

use meson_engine::State;
use meson_engine::command::Register;
use meson_engine::state::Version;
use meson_proto::v1::workflow_service_client::WorkflowServiceClient;
use meson_proto::v1::workflow_service_server::WorkflowService;
use meson_proto::v1::*;
use meson_workflow::{Definition, Problems};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::gate::{Gate, pass_on};
use super::{convert, errors, list};
use crate::shared::Shared;

/// Versions shown with a workflow.
const VERSIONS_SHOWN: usize = 100;

/// Shortest prefix of a content hash that names a version.
const HASH_PREFIX_MIN: usize = 8;

/// Page sizes: the default and the most.
const PAGE: (u32, u32) = (100, 1_000);

/// The service.
pub struct Workflows {
    /// What all faces share.
    pub shared: Shared,
    /// Who answers.
    pub gate: Arc<Gate>,
}

type Client = WorkflowServiceClient<Channel>;

impl Workflows {
    fn parse(&self, text: &str) -> Result<Definition, Problems> {
        Definition::from_yaml_with(text, &self.shared.plugins)
    }
}

#[tonic::async_trait]
impl WorkflowService for Workflows {
    async fn register_workflow(
        &self,
        request: Request<RegisterWorkflowRequest>,
    ) -> Result<Response<RegisterWorkflowResponse>, Status> {
        let refused = |problems: Problems| errors::problems("definition", &problems);
        // A follower may have other plugins than the leader, who alone judges their kinds.
        let definition = Definition::from_yaml(&request.get_ref().definition).map_err(refused)?;
        pass_on!(self.gate, Client, register_workflow, request);
        if !definition.plugin_kinds().is_empty() {
            self.parse(&request.get_ref().definition).map_err(refused)?;
        }
        let command = Register::new(&definition);
        let hash = command.hash.clone();
        let outcome = self.shared.proposer.propose(command).await.map_err(|error| errors::propose(&error))?;
        let state = self.shared.published.state();
        let version = find(&state, &definition.name, &hash)?;
        let workflow = Some(workflow(&state, &definition.name, version, true));
        Ok(Response::new(RegisterWorkflowResponse { workflow, created: outcome.changed }))
    }

    async fn validate_workflow(
        &self,
        request: Request<ValidateWorkflowRequest>,
    ) -> Result<Response<ValidateWorkflowResponse>, Status> {
        let answer = match self.parse(&request.get_ref().definition) {
            Ok(definition) => ValidateWorkflowResponse {
                problems: Vec::new(),
                version: definition.content_hash().as_str().to_owned(),
            },
            Err(problems) => ValidateWorkflowResponse {
                problems: problems.iter().map(convert::problem).collect(),
                version: String::new(),
            },
        };
        Ok(Response::new(answer))
    }

    async fn get_workflow(
        &self,
        request: Request<GetWorkflowRequest>,
    ) -> Result<Response<GetWorkflowResponse>, Status> {
        pass_on!(self.gate, Client, get_workflow, request);
        self.gate.barrier().await?;
        let GetWorkflowRequest { name, version } = request.into_inner();
        let state = self.shared.published.state();
        let shown = find(&state, &name, &version)?;
        let versions = state.workflows.get(&name).cloned().unwrap_or_default();
        let versions = versions.iter().rev().take(VERSIONS_SHOWN);
        Ok(Response::new(GetWorkflowResponse {
            workflow: Some(workflow(&state, &name, shown, true)),
            versions: versions.map(|version| workflow(&state, &name, version, false)).collect(),
        }))
    }

    async fn list_workflows(
        &self,
        request: Request<ListWorkflowsRequest>,
    ) -> Result<Response<ListWorkflowsResponse>, Status> {
        pass_on!(self.gate, Client, list_workflows, request);
        self.gate.barrier().await?;
        let ListWorkflowsRequest { page_size, page_token } = request.into_inner();
        let size = page(page_size, PAGE)?;
        if !page_token.is_empty() && !meson_workflow::ids::is_workflow_name(&page_token) {
            return Err(list::foreign_token());
        }
        let state = self.shared.published.state();
        let after = state.workflows.iter().filter(|(name, _)| **name > page_token);
        let mut workflows: Vec<Workflow> = after
            .take(size + 1)
            .filter_map(|(name, versions)| Some(workflow(&state, name, versions.last()?, false)))
            .collect();
        let more = workflows.len() > size;
        workflows.truncate(size);
        let last = workflows.last().map(|workflow| workflow.name.clone());
        let next_page_token = last.filter(|_| more).unwrap_or_default();
        Ok(Response::new(ListWorkflowsResponse { workflows, next_page_token }))
    }
}

/// A page size in its bounds; 0 gives the default.
pub(super) fn page(size: u32, (default, max): (u32, u32)) -> Result<usize, Status> {
    match size {
        0 => Ok(default as usize),
        size if size <= max => Ok(size as usize),
        size => Err(errors::invalid("page_size", format!("{size} is more than the {max} allowed"))),
    }
}

/// The version of this hash, or of the one hash that begins so; the newest when it is empty.
pub(super) fn find<'a>(state: &'a State, name: &str, hash: &str) -> Result<&'a Version, Status> {
    let Some(versions) = state.workflows.get(name) else {
        let names = state.workflows.keys().map(String::as_str);
        let hint = match meson_workflow::ids::did_you_mean(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "register it first, e.g. with `mesonctl workflows register FILE`".to_owned(),
        };
        return Err(errors::not_found("workflow", name, &hint));
    };
    let wanted = |version: &&Version| match hash.len() {
        0 => true,
        length if length < HASH_PREFIX_MIN => false,
        _ => version.hash.starts_with(hash),
    };
    versions.iter().rev().find(wanted).ok_or_else(|| {
        errors::not_found("workflow version", &format!("{name}@{hash}"), "see `mesonctl workflows get`")
    })
}

fn workflow(state: &State, name: &str, version: &Version, with_definition: bool) -> Workflow {
    let json = state.definitions.get(&version.hash).map(|registered| registered.json.as_str());
    let definition: Option<Definition> = json.and_then(|json| serde_json::from_str(json).ok());
    Workflow {
        name: name.to_owned(),
        version: version.hash.clone(),
        number: version.number,
        description: definition.map(|definition| definition.description).unwrap_or_default(),
        definition_json: json.filter(|_| with_definition).unwrap_or_default().to_owned(),
        registered_at: convert::timestamp(version.registered_ms),
    }
}
