"""A scheduler on avmesos, unchanged from PyPI: subscribes through a master that does not lead, launches, combines, kills.

Usage: avmesos_framework.py MASTER... Ends with 0 when all went as Mesos documents it. avmesos hands an event over when the
first bytes of the next one arrive, so the master's heartbeats set its pace.
"""

import queue
import sys
import threading

from avmesos.client import MesosClient

WAIT = 30


class Test(object):
    def __init__(self, masters, framework_id=None):
        self.events = queue.Queue()
        self.held = {}
        self.client = MesosClient(["http://" + master for master in masters], frameworkId=framework_id,
                                  frameworkName="avmesos test", frameworkUser="root")
        self.client.set_failover_timeout(60)
        self.client.set_checkpoint(True)
        self.client.set_role("web")
        self.client.add_capability("PARTITION_AWARE")
        for kind in (MesosClient.OFFERS, MesosClient.UPDATE, MesosClient.SUBSCRIBED, MesosClient.ERROR,
                     MesosClient.RESCIND, MesosClient.FAILURE):
            self.client.on(kind, lambda event, kind=kind: self.events.put((kind, event)))
        threading.Thread(target=self.client.register, daemon=True).start()

    def wait(self, wanted, fits=lambda value: True):
        while True:
            try:
                kind, value = self.events.get(timeout=WAIT)
            except queue.Empty:
                raise AssertionError("no %s within %d s" % (wanted, WAIT)) from None
            if kind == MesosClient.OFFERS:
                self.held.update((offer.get_offer()["agent_id"]["value"], offer) for offer in value)
            print(kind, value["status"]["state"] if kind == MesosClient.UPDATE else "", flush=True)
            if kind == wanted and fits(value):
                return value

    def wait_state(self, task_id, state):
        def fits(update):
            status = update["status"]
            return (status["task_id"]["value"], status["state"]) == (task_id, state)

        return self.wait(MesosClient.UPDATE, fits)["status"]


def task(offer, task_id, line):
    def scalar(name, value):
        return dict(name=name, type="SCALAR", scalar=dict(value=value))

    return dict(name=task_id, task_id=dict(value=task_id), agent_id=offer.get_offer()["agent_id"],
                command=dict(value=line), resources=[scalar("cpus", 0.5), scalar("mem", 64)])


def main(masters):
    test = Test(masters)
    driver = test.wait(MesosClient.SUBSCRIBED)
    offers = test.wait(MesosClient.OFFERS)
    assert all(offer.get_offer()["hostname"] for offer in offers)
    agent_id = offers[0].get_offer()["agent_id"]["value"]

    # A command runs to its end. Declined offers come back when the filter's time is over.
    offers[0].accept([task(offers[0], "ends", "true"), task(offers[0], "stays", "sleep 600")],
                     dict(filters=dict(refuse_seconds=0)))
    test.held.clear()
    for offer in offers[1:]:
        offer.decline(dict(filters=dict(refuse_seconds=0.1)))
    test.wait_state("ends", "TASK_FINISHED")

    # Two offers of two agents cannot be combined.
    while len(test.held) < 2:
        test.wait(MesosClient.OFFERS)
    both = list(test.held.values())
    test.client.combine_offers(both, [task(both[0], "combined", "true")])
    dropped = test.wait_state("combined", "TASK_DROPPED")
    assert dropped["reason"] == "REASON_INVALID_OFFERS" and "one single agent" in dropped["message"], dropped

    # Reconciliation with agents named tells gone from unknown.
    driver.reconcile([{"task_id": {"value": "stays"}, "agent_id": {"value": agent_id}},
                      {"task_id": {"value": "never"}, "agent_id": {"value": agent_id}},
                      {"task_id": {"value": "nowhere"}, "agent_id": {"value": "no such agent"}}])
    assert test.wait_state("stays", "TASK_RUNNING")["reason"] == "REASON_RECONCILIATION"
    test.wait_state("never", "TASK_GONE")
    test.wait_state("nowhere", "TASK_UNKNOWN")

    # A failover by subscribing with the same id keeps the task; a kill ends it.
    successor = Test(masters, test.client.frameworkId)
    driver = successor.wait(MesosClient.SUBSCRIBED)
    assert test.wait(MesosClient.ERROR) == "Framework failed over"
    test.client.disconnect_framework()
    driver.kill(agent_id, "stays")
    successor.wait_state("stays", "TASK_KILLED")
    driver.tearDown()
    print("all went well")


if __name__ == "__main__":
    main(sys.argv[1:])
