"""A scheduler on pymesos, unchanged from PyPI: launches, kills, messages, reconciles and fails over.

Usage: pymesos_framework.py MASTER [PRINCIPAL SECRET]. Ends with 0 when all went as Mesos documents it.
"""

import os
import queue
import sys
import time

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

WAIT = 30
EXECUTOR = "%s %s" % (sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "pymesos_executor.py"))


class TestScheduler(Scheduler):
    def __init__(self):
        self.events = queue.Queue()
        self.offers = queue.Queue()

    def registered(self, driver, framework_id, master_info):
        self.events.put(("registered", framework_id["value"]))

    def reregistered(self, driver, master_info):
        self.events.put(("reregistered", None))

    def resourceOffers(self, driver, offers):
        for offer in offers:
            self.offers.put(offer)

    def statusUpdate(self, driver, update):
        print("update", update["task_id"]["value"], update["state"], update.get("reason"), flush=True)
        self.events.put(("update", update))

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.events.put(("message", decode_data(message)))

    def executorLost(self, driver, executor_id, agent_id, status):
        self.events.put(("executor lost", executor_id["value"]))

    def error(self, driver, message):
        # A scheduler that was failed over must not come back, or the two would take the framework from each other.
        driver.stop(failover=True)
        self.events.put(("error", message))

    def disconnected(self, driver):
        pass

    def processHeartBeat(self, driver):
        self.events.put(("heartbeat", None))

    def wait(self, wanted, fits=lambda value: True):
        """The next event of a kind; others are skipped."""
        deadline = time.time() + WAIT
        while True:
            try:
                kind, value = self.events.get(timeout=max(0.01, deadline - time.time()))
            except queue.Empty:
                raise AssertionError("no %s within %d s" % (wanted, WAIT)) from None
            if kind == wanted and fits(value):
                return value

    def offer(self, driver):
        """An offer that is worth something; crumbs that ended tasks left are given back to be offered together."""
        while True:
            offer = self.offers.get(timeout=WAIT)
            if sum(of["scalar"]["value"] for of in offer["resources"] if of["name"] == "cpus") >= 1.5:
                return offer
            driver.declineOffer(offer["id"], dict(refuse_seconds=0))

    def wait_state(self, task_id, state):
        return self.wait("update", lambda update: (update["task_id"]["value"], update["state"]) == (task_id, state))


def scalar(name, value):
    return dict(name=name, type="SCALAR", scalar=dict(value=value))


def task(offer, task_id, wish):
    executor = dict(
        executor_id=dict(value="echo"),
        name="echo",
        command=dict(value=EXECUTOR),
        resources=[scalar("cpus", 0.1), scalar("mem", 32)],
    )
    return dict(
        task_id=dict(value=task_id),
        agent_id=offer["agent_id"],
        name=task_id,
        executor=executor,
        data=encode_data(wish),
        resources=[scalar("cpus", 0.5), scalar("mem", 64)],
    )


def command_task(offer, task_id, line):
    return dict(
        task_id=dict(value=task_id),
        agent_id=offer["agent_id"],
        name=task_id,
        command=dict(value=line),
        resources=[scalar("cpus", 0.5), scalar("mem", 64)],
    )


def new_driver(scheduler, info, arguments):
    credentials = dict(principal=arguments[1], secret=arguments[2]) if len(arguments) == 3 else {}
    return MesosSchedulerDriver(scheduler, info, arguments[0], **credentials)


def main(arguments):
    info = dict(user="root", name="pymesos test", checkpoint=True, failover_timeout=60)
    scheduler = TestScheduler()
    driver = new_driver(scheduler, info, arguments)
    driver.start()
    framework_id = scheduler.wait("registered")
    scheduler.wait("heartbeat")

    # An offer is used for several tasks that share one executor.
    offer = scheduler.offer(driver)
    tasks = [task(offer, "ends", b"finish"), task(offer, "fails", b"fail"), task(offer, "stays", b"stay")]
    driver.launchTasks(offer["id"], tasks, dict(refuse_seconds=0))
    agent_id = offer["agent_id"]
    results = {}
    while set(results) != {"ends", "fails", "stays"}:
        update = scheduler.wait("update", lambda update: update["state"] in ("TASK_FINISHED", "TASK_FAILED", "TASK_RUNNING"))
        if update["state"] != "TASK_RUNNING" or update["task_id"]["value"] == "stays":
            results[update["task_id"]["value"]] = update
    assert results["ends"]["state"] == "TASK_FINISHED" and decode_data(results["ends"]["data"]) == b"result", results
    assert results["fails"]["state"] == "TASK_FAILED" and results["fails"]["message"] == "as it was told", results
    assert results["stays"]["source"] == "SOURCE_EXECUTOR" and results["stays"]["uuid"], results

    # Framework messages pass in both directions.
    driver.sendFrameworkMessage(dict(value="echo"), agent_id, encode_data(b"hello"))
    assert scheduler.wait("message") == b"echo:hello"

    # The same offer cannot be used twice.
    driver.launchTasks(offer["id"], [task(offer, "late", b"finish")])
    late = scheduler.wait_state("late", "TASK_LOST")
    assert late["reason"] == "REASON_INVALID_OFFERS" and "uuid" not in late, late

    # Reconciliation: explicit of known and unknown tasks, then implicit.
    driver.reconcileTasks([dict(task_id=dict(value="stays")), dict(task_id=dict(value="never"))])
    known = scheduler.wait_state("stays", "TASK_RUNNING")
    assert known["reason"] == "REASON_RECONCILIATION" and "uuid" not in known, known
    unknown = scheduler.wait_state("never", "TASK_LOST")
    assert unknown["reason"] == "REASON_RECONCILIATION", unknown
    driver.reconcileTasks([])
    scheduler.wait_state("stays", "TASK_RUNNING")

    # Too much is refused, and only that.
    offer = scheduler.offer(driver)
    greedy = task(offer, "greedy", b"finish")
    greedy["resources"] = [scalar("cpus", 1000), scalar("mem", 64)]
    driver.launchTasks(offer["id"], [greedy, command_task(offer, "command", "echo $MESOS_TASK_ID; exit 3")], dict(refuse_seconds=0))
    assert "more than available" in scheduler.wait_state("greedy", "TASK_ERROR")["message"]
    failed = scheduler.wait_state("command", "TASK_FAILED")
    assert failed["reason"] == "REASON_COMMAND_EXECUTOR_FAILED", failed

    # A group of tasks is launched as one.
    offer = scheduler.offer(driver)
    executor = dict(
        type="CUSTOM",
        executor_id=dict(value="group"),
        command=dict(value=EXECUTOR),
        resources=[scalar("cpus", 0.1), scalar("mem", 32), scalar("disk", 1)],
    )
    group = [task(offer, "one", b"finish"), task(offer, "two", b"finish")]
    for member in group:
        del member["executor"]
    launch = dict(type="LAUNCH_GROUP", launch_group=dict(executor=executor, task_group=dict(tasks=group)))
    driver.acceptOffers(offer["id"], [launch], dict(refuse_seconds=0))
    finished = set()
    while finished != {"one", "two"}:
        update = scheduler.wait("update", lambda update: update["state"] == "TASK_FINISHED")
        finished.add(update["task_id"]["value"])

    # pymesos acknowledges before it hands over what comes next. Later it would do so on a stream that is no longer its own,
    # and give up.
    driver.reconcileTasks([])
    scheduler.wait_state("stays", "TASK_RUNNING")

    # A second scheduler takes over by subscribing with the same id; the first is told so.
    successor = TestScheduler()
    second = new_driver(successor, dict(info, id=dict(value=framework_id)), arguments)
    second.start()
    successor.wait("reregistered")
    assert scheduler.wait("error") == "Framework failed over"
    driver.join()
    second.reconcileTasks([])
    successor.wait_state("stays", "TASK_RUNNING")

    # A kill reaches the executor; what ended is then unknown.
    second.killTask(dict(value="stays"))
    successor.wait_state("stays", "TASK_KILLED")
    # pymesos acknowledges before it hands over what comes next.
    successor.wait("heartbeat")
    second.killTask(dict(value="stays"))
    successor.wait_state("stays", "TASK_LOST")

    # Suppressed, nothing is offered; revived, everything is.
    second.suppressOffers()
    while not successor.offers.empty():
        second.declineOffer(successor.offers.get()["id"], dict(refuse_seconds=3600))
    successor.wait("heartbeat")
    successor.wait("heartbeat")
    assert successor.offers.empty()
    second.reviveOffers()
    successor.offers.get(timeout=WAIT)
    second.stop()
    second.join()
    print("all went well")


if __name__ == "__main__":
    main(sys.argv[1:])
