"""An executor on pymesos, unchanged from PyPI. It does what each task's data says:

`finish` ends at once, `fail` fails, `stay` runs until it is killed. Framework messages are sent back with `echo:` before.
"""

import logging
import sys
import threading

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class TestExecutor(Executor):
    def registered(self, driver, executor_info, framework_info, agent_info):
        assert agent_info["hostname"], agent_info
        assert framework_info["name"], framework_info

    def launchTask(self, driver, task):
        def run():
            self.tell(driver, task["task_id"], "TASK_RUNNING")
            wish = decode_data(task["data"])
            if wish == b"finish":
                self.tell(driver, task["task_id"], "TASK_FINISHED", data=encode_data(b"result"))
            elif wish == b"fail":
                self.tell(driver, task["task_id"], "TASK_FAILED", message="as it was told")

        threading.Thread(target=run).start()

    def launchTaskGroup(self, driver, task_infos):
        for task in task_infos:
            self.launchTask(driver, task)

    def killTask(self, driver, task_id):
        self.tell(driver, task_id, "TASK_KILLED")

    def frameworkMessage(self, driver, message):
        driver.sendFrameworkMessage(encode_data(b"echo:" + decode_data(message)))

    @staticmethod
    def tell(driver, task_id, state, **more):
        driver.sendStatusUpdate(dict(task_id=task_id, state=state, **more))


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    MesosExecutorDriver(TestExecutor()).run()
