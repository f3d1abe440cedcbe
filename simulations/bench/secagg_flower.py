"""Flower's SecAgg+ in process, for comparison: its workflow, its client mod, and a grid between them."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common import recorddict_compat
from flwr.server.client_manager import SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key

from simulations.grid import InProcessGrid

THRESHOLD = 0.6


class DirectGrid(InProcessGrid):
    """Copies what the coordinator sends, since its records are shared among nodes, and not what nodes answer."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            self._sent += 1
            identifier = str(self._sent)
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = identifier
            self._replies[identifier] = self._app(copy.deepcopy(message), self._contexts[node])
            identifiers.append(identifier)
        return identifiers


class Keep(FedAvg):
    """Everybody takes part, and the mean is kept instead of averaged once more."""

    mean: npt.NDArray[np.float64] | None = None

    def aggregate_fit(self, server_round: int, results: list[tuple[Any, FitRes]], failures: Any,
                      ) -> tuple[Parameters | None, dict[str, Any]]:
        del server_round, failures
        self.mean = parameters_to_ndarrays(results[0][1].parameters)[0]
        return None, {}


def run_flower(vectors: list[npt.NDArray[np.int64]]) -> float:
    """One SecAgg+ aggregation in which everybody stays.

    Returns:
        Seconds of processor time, of all parties.

    Raises:
        RuntimeError: if the sum is not exact (clipping range and quantization are powers of two, so it can be).
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    app = ClientApp(mods=[secaggplus_mod])
    inputs = [vector.astype(np.float64) for vector in vectors]

    @app.train()
    def train(message: Message, context: Context) -> Message:
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([inputs[context.node_id - 1]]), 1, {})
        return Message(recorddict_compat.fitres_to_recorddict(result, False), reply_to=message)

    grid = DirectGrid(app, [{} for _ in vectors], {})
    strategy = Keep(fraction_fit=1.0, min_fit_clients=len(vectors), min_available_clients=len(vectors))
    manager = SimpleClientManager()
    for node in grid.get_node_ids():
        manager.register(GridClientProxy(node_id=node, grid=grid, run_id=1))
    state = RecordDict({MAIN_CONFIGS_RECORD: ConfigRecord({Key.CURRENT_ROUND: 1}), MAIN_PARAMS_RECORD:
                        recorddict_compat.parameters_to_arrayrecord(ndarrays_to_parameters([np.zeros(1)]), True)})
    context = LegacyContext(Context(run_id=1, node_id=0, node_config={}, state=state, run_config={}),
                            strategy=strategy, client_manager=manager)
    workflow = SecAggPlusWorkflow(num_shares=1.0, reconstruction_threshold=THRESHOLD, max_weight=1.0,
                                  clipping_range=64.0)
    start = time.process_time()
    workflow(grid, context)
    seconds = time.process_time() - start
    if strategy.mean is None or not np.array_equal(np.rint(strategy.mean * len(vectors)), np.sum(vectors, axis=0)):
        raise RuntimeError("Flower's sum is not exact")
    return seconds
