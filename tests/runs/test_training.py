"""The step as one module, for compilers and wrappers; the learning rate."""

import copy

import pytest
import torch
from torch import distributed, nn
from torch._dynamo.testing import CompileCounter
from torch.nn.parallel import DistributedDataParallel

from samples import OF_LABELS
from wsol import build_model
from wsol.data.batches import Batch
from wsol.methods.draws import DrawSource
from wsol.runs.training import TrainingStep, start_training

TINY = "timm:test_efficientnet"
SIDE = 64
LABELS = torch.tensor([0, 2, 1])


def batch(step=0):
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(step))
    return Batch(images, LABELS, [f"{step}/{number}.jpg" for number in range(3)], [], (step, 7, 9))


def draws(model, step=0):
    return model.draw(DrawSource(0, 1, step, batch(step).positions), (SIDE, SIDE))


def twins(method):
    torch.manual_seed(0)
    model = build_model(TINY, method, 3).train()
    return model, copy.deepcopy(model)


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("method", OF_LABELS)
def test_a_compiler_sees_the_whole_step_as_one_graph(method):
    """Image ids and draws that change from batch to batch compile nothing anew."""
    torch._dynamo.reset()
    model, twin = twins(method)
    counter = CompileCounter()
    compiled = torch.compile(TrainingStep(twin), backend=counter, fullgraph=True)
    for step in range(3):
        _, expected = TrainingStep(model)(batch(step), draws(model, step))
        _, loss = compiled(batch(step), draws(model, step))
        torch.testing.assert_close(loss, expected)
    assert counter.frame_count == 1
    torch._dynamo.reset()


def test_a_compiler_sees_the_step_of_a_batch_with_masks_as_one_graph():
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = build_model(TINY, "fsl_seg", 1).train()
    masks = (torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) < 0.4).to(torch.uint8)
    counter = CompileCounter()
    compiled = torch.compile(TrainingStep(copy.deepcopy(model)), backend=counter, fullgraph=True)
    for step in range(3):
        _, expected = TrainingStep(model)(batch(step)._replace(masks=masks))
        torch.testing.assert_close(compiled(batch(step)._replace(masks=masks))[1], expected)
    assert counter.frame_count == 1
    torch._dynamo.reset()


@pytest.fixture
def process_group():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("method", OF_LABELS)
def test_a_wrapper_for_several_processes_gives_the_same_gradients(method, process_group):
    model, twin = twins(method)
    TrainingStep(model)(batch(), draws(model))[1].backward()
    DistributedDataParallel(TrainingStep(twin))(batch(), draws(model))[1].backward()
    expected = gradients(model)
    assert expected.keys() == gradients(twin).keys() and all(grad is not None for grad in expected.values())
    assert all(torch.equal(grad, expected[name]) for name, grad in gradients(twin).items())


@pytest.mark.parametrize("method", OF_LABELS)
def test_a_pass_leaves_the_hooks_alone_and_keeps_no_features(method, monkeypatch):
    model, _ = twins(method)

    def refuse(*_, **__):
        raise AssertionError("a hook is registered in a pass")

    monkeypatch.setattr(nn.Module, "register_forward_hook", refuse)
    TrainingStep(model)(batch(), draws(model))
    assert not getattr(model, "sides", None)
    model.eval().score_maps(batch().images, LABELS)


@pytest.mark.parametrize("method", ["adl", "spg"])
def test_a_copy_of_a_model_does_not_act_on_the_original(method):
    """Hooks are copied with a model; a closure would still be the original's."""
    model, twin = twins(method)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    nn.init.zeros_(twin.classifier.weight)
    outputs = twin(batch().images)
    assert outputs["logits"].abs().max() == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert getattr(model, "drop", None) is None and not getattr(model, "sides", None)


def test_a_step_on_a_cpu_has_the_bits_of_plain_sgd():
    """torch's fused SGD rounds differently there."""
    config = {"lr": 0.01, "lr_classifier_ratio": 10.0, "momentum": 0.9, "weight_decay": 1e-4, "amp": "off"}
    models = [build_model("resnet18", "cam", 3) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    plain = torch.optim.SGD(
        models[1].parameter_groups(0.01, 10.0), momentum=0.9, weight_decay=1e-4, nesterov=True, fused=False, foreach=False
    )
    optimizers = [start_training(models[0], config, torch.device("cpu")).optimizer, plain]
    for step in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            torch.manual_seed(step)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    assert all(torch.equal(*both) for both in zip(*(model.parameters() for model in models), strict=True))
