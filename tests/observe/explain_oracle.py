"""What autograd says of the network that an explanation shows: layers of `bptt.nn`, one clone of all weights for every step."""

import copy

import torch
from torch import nn

import bptt

LAYERS = {
    "rnn": lambda i, h, **more: bptt.nn.RNN(i, h, backend="reference", **more),
    "relu": lambda i, h, **more: bptt.nn.RNN(i, h, nonlinearity="relu", backend="reference", **more),
    "linear": lambda i, h, **more: bptt.nn.RNN(i, h, nonlinearity="identity", backend="reference", **more),
    "gru": lambda i, h, **more: bptt.nn.GRU(i, h, backend="reference", **more),
    "lstm": lambda i, h, **more: bptt.nn.LSTM(i, h, backend="reference", **more),
}


class Net(nn.Module):
    """The network of an explanation, given its weights."""

    def __init__(self, cell, weights, **more):
        super().__init__()
        weights = {name: torch.tensor(value, dtype=torch.float64) for name, value in weights.items()}
        outputs, hidden = weights["W_hy"].shape
        self.layer = LAYERS[cell](weights["W_xh"].shape[1], hidden, **more).double()
        self.readout = nn.Linear(hidden, outputs, bias="b_y" in weights).double()
        with torch.no_grad():
            self.layer.weight_ih_l0.copy_(weights["W_xh"])
            self.layer.weight_hh_l0.copy_(weights["W_hh"])
            self.layer.bias_ih_l0.copy_(weights["b_h"])
            self.layer.bias_hh_l0.zero_()
            if cell == "gru":
                self.layer.bias_hh_l0[2 * hidden :] = weights["b_hn"]
            self.readout.weight.copy_(weights["W_hy"])
            if "b_y" in weights:
                self.readout.bias.copy_(weights["b_y"])

    def forward(self, x, state):
        h, state = self.layer(x, state)
        return self.readout(h), state

    def named(self):
        """The parameters by the names of the explanation."""
        layer, readout = self.layer, self.readout
        found = {"W_xh": layer.weight_ih_l0, "W_hh": layer.weight_hh_l0, "b_h": layer.bias_ih_l0, "W_hy": readout.weight}
        if layer.gates == 3:
            found["b_hn"] = layer.bias_hh_l0  # its last H elements
        if readout.bias is not None:
            found["b_y"] = readout.bias
        return found

    def taken(self, grads):
        """Gradients by those names, as arrays of the explanation's shapes."""
        hidden = self.layer.hidden_size
        return {n: (g[-hidden:] if n == "b_hn" else g).detach().numpy() for n, g in grads.items()}


def flat(state):
    """An explanation's state: h and c side by side."""
    return torch.cat([part.flatten() for part in (state if isinstance(state, tuple) else (state,))])


class Autograd:
    """Every number again, by autograd: the same names as `Explained`."""

    def __init__(self, cell, weights, x, target, counted):
        self.net = Net(cell, weights)
        x, target = (torch.tensor(part, dtype=torch.float64)[:, None] for part in (x, target))
        self.x, self.target, self.counted = x, target, counted
        clones = [copy.deepcopy(self.net) for _ in x]
        state, states, ys, losses = None, [], [], []
        for t, clone in enumerate(clones):
            _, state = clone.layer(x[t : t + 1], state)
            y = clone.readout(state[0] if isinstance(state, tuple) else state)  # so that the error meets the state itself
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                part.retain_grad()
            states.append(parts)
            ys.append(y.flatten())
            losses.append(0.5 * (y - target[t : t + 1]).square().sum() * counted[t])
        self.states, self.y = torch.stack([flat(s) for s in states]).detach().numpy(), torch.stack(ys).detach().numpy()
        self.losses = torch.stack(losses).detach().numpy()
        steps = range(len(x))
        self.back = torch.zeros(len(x), len(x), self.states.shape[1], dtype=torch.float64)
        self.contributions = {}
        for t in steps:
            wanted = [part for parts in states[: t + 1] for part in parts]
            grads = torch.autograd.grad(losses[t], wanted, retain_graph=True, allow_unused=True, materialize_grads=True)
            width = len(states[0])
            for k in range(t + 1):
                self.back[t, k] = flat(tuple(grads[k * width : (k + 1) * width]))
            for k, clone in enumerate(clones):
                named = clone.named()
                found = torch.autograd.grad(
                    losses[t], list(named.values()), retain_graph=True, allow_unused=True, materialize_grads=True
                )
                for name, value in clone.taken(dict(zip(named, found, strict=True))).items():
                    self.contributions.setdefault(name, {})[t, k] = value

    def gradient(self):
        """The gradient of the plain forward and backward pass."""
        y, _ = self.net(self.x, None)
        counted = torch.tensor(self.counted)[:, None, None]
        (0.5 * counted * (y - self.target).square()).sum().backward()
        grads = self.net.taken({name: p.grad for name, p in self.net.named().items()})
        self.net.zero_grad()
        return grads
