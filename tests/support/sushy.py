"""sushy.py CONFIG SUPPLY_PORT: the Redfish emulator of sushy-tools as the BMC of one machine.

The power is the laboratory's own: a line to the power supply at 127.0.0.1:SUPPLY_PORT, "get power" or
"set power 0|1", is answered with "power:0|1", "done" or "refused"."""

import socket
import sys

from sushy_tools import error
from sushy_tools.emulator.resources.systems import fakedriver

CONFIG, PORT = sys.argv[1], int(sys.argv[2])
ORDERS = {"On": "1", "ForceOn": "1", "ForceOff": "0"}


def ask(question):
    with socket.create_connection(("127.0.0.1", PORT), timeout=20) as supply:
        supply.sendall(question.encode() + b"\n")
        answer = supply.makefile().readline().strip()
    if answer in ("", "refused"):
        raise error.FishyError("the power supply refuses")
    return answer


class Driver(fakedriver.FakeDriver):
    def get_power_state(self, identity):
        self._get(identity)
        return "On" if ask("get power") == "power:1" else "Off"

    def set_power_state(self, identity, state):
        self._get(identity)
        if state not in ORDERS:
            raise error.NotSupportedError(f"{state} is not supported")
        ask("set power " + ORDERS[state])


fakedriver.FakeDriver = Driver
from sushy_tools.emulator import main  # noqa: E402

sys.argv = ["sushy-emulator", "--config", CONFIG]
sys.exit(main.main())
