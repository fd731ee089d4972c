//! From attempts to Mesos's words: tasks, the executor that runs them, and amounts of resources.

use meson_engine::record::Amounts;
use meson_mesos::resources::{Fixed, Resources, Wanted};
use meson_mesos::v1::{
    AgentId, CommandInfo, Environment, ExecutorId, ExecutorInfo, FrameworkId, KillPolicy, Resource, TaskInfo,
    command_info, environment, executor_info,
};
use meson_proto::v1;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::Settings;

/// Bytes of a MiB, which is what Mesos counts memory and disk in, with three decimals.
const MIB: u64 = 1 << 20;
/// Digits of a digest that tell executors apart.
const ID_DIGITS: usize = 16;

/// The executor of our attempts, but for its resources. Its id is derived from all that it is made of: attempts that
/// need the same share one on each agent, and after a change of settings or version new attempts get a new one.
pub fn executor(settings: &Settings, framework_id: &FrameworkId, endpoints: &[String]) -> ExecutorInfo {
    let uri = |value: &String| command_info::Uri { value: value.clone(), ..Default::default() };
    let mut variables = settings.executor_env.clone();
    variables.insert("MESON_ENDPOINTS".to_owned(), endpoints.join(","));
    variables.insert("MESON_IDLE_SHUTDOWN_MS".to_owned(), settings.executor_idle_ms.to_string());
    let variable = |(name, value)| environment::Variable { name, value: Some(value), ..Default::default() };
    let command = CommandInfo {
        uris: settings.executor_uris.iter().map(uri).collect(),
        environment: Some(Environment { variables: variables.into_iter().map(variable).collect() }),
        value: Some(format!("{} --mesos", settings.executor_command)),
        shell: Some(true),
        ..CommandInfo::default()
    };
    let mut executor = ExecutorInfo {
        r#type: Some(executor_info::Type::Custom as i32),
        framework_id: Some(framework_id.clone()),
        command: Some(command),
        name: Some(format!("meson-executor {}", env!("CARGO_PKG_VERSION"))),
        ..ExecutorInfo::default()
    };
    let own = own_needs(settings);
    let needs = format!("{} {}", own.cpus_milli, own.mem_bytes);
    let digest = Sha256::new().chain_update(executor.encode_to_vec()).chain_update(needs).finalize();
    let id: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    executor.executor_id = ExecutorId::from(format!("meson-{}", &id[..ID_DIGITS]));
    executor
}

/// What an executor itself takes of its agent.
pub fn own_needs(settings: &Settings) -> Amounts {
    let cpus_milli = (settings.executor_cpus * 1_000.0).round() as u64;
    Amounts { cpus_milli, mem_bytes: settings.executor_mem_mib * MIB, ..Amounts::default() }
}

/// The task of an attempt.
pub fn task(
    launch: &v1::Launch,
    agent: &AgentId,
    executor: ExecutorInfo,
    resources: Vec<Resource>,
) -> TaskInfo {
    let grace = KillPolicy { grace_period: Some(nanoseconds(launch.kill_grace_ms)) };
    TaskInfo {
        name: format!("{}/{}", launch.workflow, launch.step),
        task_id: launch.attempt_id.as_str().into(),
        agent_id: agent.clone(),
        resources,
        executor: Some(executor),
        kill_policy: Some(grace),
        data: Some(launch.encode_to_vec().into()),
        ..TaskInfo::default()
    }
}

/// A duration as Mesos writes it.
pub fn nanoseconds(ms: u64) -> meson_mesos::v1::DurationInfo {
    meson_mesos::v1::DurationInfo {
        nanoseconds: i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000),
    }
}

/// What to take of an offer for an attempt. Memory and disk are rounded up to what Mesos can say.
pub fn wanted(amounts: Amounts) -> Wanted {
    // A task without any resources is refused.
    let cpus = if amounts == Amounts::default() { 1 } else { amounts.cpus_milli };
    let scalars = [
        ("cpus", thousandths(cpus)),
        ("mem", mib(amounts.mem_bytes)),
        ("disk", mib(amounts.disk_bytes)),
        ("gpus", thousandths(u64::from(amounts.gpus) * 1_000)),
    ];
    let some = scalars.into_iter().filter(|(_, amount)| amount.is_positive());
    some.fold(Wanted::new(), |wanted, (name, amount)| wanted.scalar(name, amount))
}

/// How much of what we count is in resources, of what this role may take. What is for others, or is a volume, is not
/// counted.
pub fn amounts(resources: &Resources, role: &str) -> Amounts {
    let usable = resources.filter(|resource| {
        let special = resource.disk.is_some() || resource.shared.is_some() || resource.revocable.is_some();
        !special && meson_mesos::resources::may_use(role, meson_mesos::resources::reservation_role(resource))
    });
    let thousandths = |name| u64::try_from(usable.scalar(name).as_thousandths()).unwrap_or(0);
    let bytes = |name| (u128::from(thousandths(name)) * u128::from(MIB) / 1_000) as u64;
    Amounts {
        cpus_milli: thousandths("cpus"),
        mem_bytes: bytes("mem"),
        disk_bytes: bytes("disk"),
        gpus: u32::try_from(thousandths("gpus") / 1_000).unwrap_or(u32::MAX),
    }
}

fn thousandths(count: u64) -> Fixed {
    Fixed::thousandths(i64::try_from(count).unwrap_or(i64::MAX))
}

fn mib(bytes: u64) -> Fixed {
    let rounded = (u128::from(bytes) * 1_000).div_ceil(u128::from(MIB));
    Fixed::thousandths(i64::try_from(rounded).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use meson_mesos::resources::parse;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_needs_share_an_executor_and_others_do_not() {
        let framework = FrameworkId::from("f");
        let endpoints = ["http://a:7400".to_owned()];
        let of = |settings: &Settings| executor(settings, &framework, &endpoints);
        let settings = Settings::default();
        assert_eq!(of(&settings), of(&settings.clone()));
        let warmer = Settings { executor_idle_ms: 1, ..settings.clone() };
        let larger = Settings { executor_mem_mib: 128, ..settings.clone() };
        let moved = executor(&settings, &framework, &["http://b:7400".to_owned()]);
        let ids = [of(&settings), of(&warmer), of(&larger), moved].map(|executor| executor.executor_id.value);
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn amounts_are_of_what_the_role_may_take() {
        let resources = parse("cpus:4;cpus(science):2;mem:1024;mem(others):512;gpus:2;ports:[1-9]").unwrap();
        let science = amounts(&resources, "science");
        assert_eq!((science.cpus_milli, science.mem_bytes, science.gpus), (6_000, 1_024 * MIB, 2));
        assert_eq!(amounts(&resources, "*").cpus_milli, 4_000);
    }

    proptest! {
        // What the solver finds to fit can be taken of the offer.
        #[test]
        fn what_fits_can_be_taken(cpus in 0u64..5_000, mem in 0u64..(4 << 30), disk in 0u64..(4 << 30), gpus in 0u32..3) {
            let resources = parse("cpus:4.5;mem:2048.25;disk:1024;gpus:1").unwrap();
            let need = Amounts { cpus_milli: cpus, mem_bytes: mem, disk_bytes: disk, gpus };
            let fits = need.fits(amounts(&resources, "*"));
            prop_assert_eq!(resources.find(&wanted(need), "*").is_some(), fits);
        }
    }
}
