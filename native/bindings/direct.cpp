// The shortest way from torch's tensors to the kernels: one call checks them, makes the results and computes. It serves dense
// tensors that fit; for everything else it returns None before any memory is touched, and bptt.kernels.native.calls goes the long
// way, which copies what is not dense and says what does not fit. A state that is None is zero, and its results are stacked.
#include "direct.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "exchange.h"
#include "sequence/kernels.h"
#include "sequence/loans.h"

namespace nb = nanobind;

namespace bptt {
namespace {

using exchange::Tensor;

struct Torch {
    const exchange::Table* table = nullptr;
    PyObject* tensor = nullptr;  // the types that are served: torch.Tensor and torch.nn.Parameter themselves
    PyObject* parameter = nullptr;
    PyObject* is_neg = nullptr;
};
Torch torch;

bool attach(nb::object tensor, nb::object parameter) {
    const nb::object capsule = nb::getattr(tensor, "__dlpack_c_exchange_api__", nb::none());
    if (capsule.is_none()) return false;
    const auto* table = static_cast<const exchange::Table*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (!table) throw nb::python_error();
    while (table && table->major != 1) table = table->previous;
    if (!table || !table->view) return false;
    PyObject* is_neg = nb::getattr(tensor, "is_neg").release().ptr();
    torch = {table, tensor.release().ptr(), parameter.release().ptr(), is_neg};
    return true;
}

struct Sizes {
    std::int64_t n[3];
    int dimensions;
};

// One tensor of a call, seen without owning it.
class View {
public:
    // False: not one of torch's own tensors, or not to be read as it lies.
    bool see(PyObject* object) {
        if (object == Py_None) return true;
        PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
        if (type != torch.tensor && type != torch.parameter) return false;
        if (torch.table->view(object, &seen_)) {
            PyErr_Clear();
            return false;
        }
        PyObject* negative = PyObject_Vectorcall(torch.is_neg, &object, 1, nullptr);
        if (!negative) throw nb::python_error();
        Py_DECREF(negative);
        there_ = true;
        return negative == Py_False && seen_.device_type == 1 && seen_.lanes == 1;
    }

    bool there() const { return there_; }
    bool floats() const { return seen_.code == 2 && (seen_.bits == 32 || seen_.bits == 64); }
    bool f64() const { return seen_.bits == 64; }
    int dimensions() const { return seen_.dimensions; }
    long size(int d) const { return long(seen_.shape[d]); }
    long stride(int d) const { return seen_.strides ? long(seen_.strides[d]) : dense_stride(d); }

    bool shaped(const Sizes& sizes) const {
        return seen_.dimensions == sizes.dimensions && std::equal(sizes.n, sizes.n + sizes.dimensions, seen_.shape);
    }
    bool dense() const {
        for (int d = 0; d < seen_.dimensions; d++)
            if (seen_.shape[d] > 1 && stride(d) != dense_stride(d)) return false;
        return true;
    }
    // Whether all its elements are one in memory.
    bool one() const {
        for (int d = 0; d < seen_.dimensions; d++)
            if (size(d) > 1 && stride(d) != 0) return false;
        return elements() > 0;
    }
    bool like(const View& x) const { return seen_.code == x.seen_.code && seen_.bits == x.seen_.bits; }
    bool flags() const { return seen_.code == 6 && seen_.bits == 8; }

    template <class S>
    S* at() const {
        return there_ ? reinterpret_cast<S*>(static_cast<char*>(seen_.data) + seen_.byte_offset) : nullptr;
    }
    bool readable() const {
        if (seen_.data) return true;
        for (int d = 0; d < seen_.dimensions; d++)
            if (seen_.shape[d] == 0) return true;
        return false;  // its storage was taken away
    }
    long elements() const {
        long n = 1;
        for (int d = 0; d < seen_.dimensions; d++) n *= long(seen_.shape[d]);
        return n;
    }
    // Its elements, dense; of three dimensions at most.
    template <class S>
    std::vector<S> copied() const {
        std::vector<S> made;
        made.reserve(std::size_t(elements()));
        const int last = seen_.dimensions - 1;
        const auto size_of = [&](int d) { return d >= 0 ? size(d) : 1; };
        const auto stride_of = [&](int d) { return d >= 0 ? stride(d) : 0; };
        for (long i = 0; i < size_of(last - 2); i++)
            for (long j = 0; j < size_of(last - 1); j++)
                for (long k = 0; k < size_of(last); k++)
                    made.push_back(at<const S>()[i * stride_of(last - 2) + j * stride_of(last - 1) + k * stride_of(last)]);
        return made;
    }
    Sizes sizes() const {
        Sizes made{{}, seen_.dimensions};
        std::copy(seen_.shape, seen_.shape + seen_.dimensions, made.n);
        return made;
    }

private:
    long dense_stride(int d) const {
        long n = 1;
        for (int e = seen_.dimensions - 1; e > d; e--) n *= long(seen_.shape[e]);
        return n;
    }
    Tensor seen_{};
    bool there_ = false;
};

// Errors up to so many elements are made dense here, where a call of torch costs more than the copy.
constexpr long few = 1 << 14;

// Zeros that live as long as the thread, for a state that is not given.
const void* zeros(std::size_t bytes) {
    static thread_local std::vector<double> kept;
    const std::size_t wanted = (bytes + 7) / 8 + 1;
    if (kept.size() < wanted) kept.assign(wanted, 0.0);
    return kept.data();
}

void set_error(void* refused, const char*, const char* message) {
    nb::gil_scoped_acquire held;
    *static_cast<bool*>(refused) = true;
    PyErr_SetString(PyExc_MemoryError, message);
}

// A new tensor, and its memory in `at`.
nb::object fresh(const Sizes& sizes, bool f64, void** at) {
    Sizes given = sizes;
    Tensor like{};
    like.device_type = 1;
    like.dimensions = given.dimensions;
    like.code = 2;
    like.bits = f64 ? 64 : 32;
    like.lanes = 1;
    like.shape = given.n;
    exchange::Managed* managed = nullptr;
    bool refused = false;
    if (torch.table->allocate(&like, &managed, &refused, set_error)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_MemoryError, "torch allocates nothing");
        throw nb::python_error();
    }
    void* object = nullptr;
    Tensor view{};
    if (torch.table->object_from_managed(managed, &object)) throw nb::python_error();
    nb::object made = nb::steal(static_cast<PyObject*>(object));
    if (torch.table->view(object, &view)) throw nb::python_error();
    *at = static_cast<char*>(view.data) + view.byte_offset;
    return made;
}

// A tensor whose memory is a loan, given back when torch drops it.
struct Lent {
    Loan* loan;
    Sizes sizes;
    std::int64_t strides[3];
    exchange::Managed managed;

    static void drop(exchange::Managed* managed) {
        Lent* const lent = static_cast<Lent*>(managed->context);
        give_back(lent->loan);
        delete lent;
    }
};

// A new tensor, to be written whole: from so many bytes on it lies where an earlier one has lain.
template <class S>
nb::object recurring(const Sizes& sizes, std::size_t least, void** at) {
    std::size_t elements = 1;
    for (int d = 0; d < sizes.dimensions; d++) elements *= std::size_t(sizes.n[d]);
    const std::size_t bytes = elements * sizeof(S);
    if (bytes < least) return fresh(sizes, sizeof(S) == 8, at);
    auto lent = std::make_unique<Lent>();
    lent->loan = lend(bytes);
    lent->sizes = sizes;
    std::int64_t stride = 1;
    for (int d = sizes.dimensions - 1; d >= 0; d--) lent->strides[d] = stride, stride *= sizes.n[d];
    *at = lent->loan->at;
    exchange::Managed& managed = lent->managed;
    managed = {1, 0, lent.get(), Lent::drop, 0, {*at, 1, 0, sizes.dimensions, 2, sizeof(S) * 8, 1, lent->sizes.n, lent->strides, 0}};
    lent.release();
    void* object = nullptr;
    if (torch.table->object_from_managed(&managed, &object)) {
        Lent::drop(&managed);
        throw nb::python_error();
    }
    return nb::steal(static_cast<PyObject*>(object));
}

template <class S>
nb::object tape_part(std::size_t elements, void** at) {
    return recurring<S>({{std::int64_t(elements)}, 1}, least_loan, at);
}

// Of outputs and gradients malloc keeps what is smaller.
template <class S>
nb::object result(const Sizes& sizes, void** at) {
    return recurring<S>(sizes, least_lent_result, at);
}

// A layer, and calls of it.
class Direct {
public:
    Direct(int cell, int activation, bool reverse, long I, long H, long P, double clip_step)
        : cell_(Cell(cell)), activation_(Activation(activation)), reverse_(reverse), I_(I), H_(H), P_(P), Y_(P ? P : H),
          clip_step_(clip_step) {
        const long gates = cell == 0 ? 1 : cell == 1 ? 3 : 4;
        if (cell < 0 || cell > 2 || activation < 0 || activation > 2 || I < 1 || H < 1 || P < 0 || P >= H || (P && cell != 2) ||
            !(clip_step > 0) || 4.0 * double(H) * (double(I) + double(H)) > 1e14)
            throw nb::value_error("no such layer");
        weights_[0] = {{gates * H, I}, 2};
        weights_[1] = {{gates * H, Y_}, 2};
        weights_[2] = weights_[3] = {{gates * H}, 1};
        weights_[4] = {{P, H}, 2};
    }

    // (y, h, c, gates, cells), or None where the long way must be gone.
    nb::object forward(nb::tuple inputs, nb::object mask, nb::object reset, bool keep, long threads) const {
        Given given;
        if (!see(given, inputs, mask, reset, threads)) return nb::none();
        return given.x().f64() ? forward_as<double>(given, keep) : forward_as<float>(given, keep);
    }

    // The gradients, None where not wanted; or None where the long way must be gone.
    nb::object backward(nb::tuple inputs, nb::object mask, nb::object reset, nb::tuple tape, nb::tuple errors, nb::tuple wanted,
                        long threads) const {
        Given given;
        if (nb::len(tape) != 3 || nb::len(errors) != 3 || nb::len(wanted) != 8) throw nb::value_error("3 of the tape, 3 errors, 8 wanted");
        if (!see(given, inputs, mask, reset, threads)) return nb::none();
        return given.x().f64() ? backward_as<double>(given, tape, errors, wanted) : backward_as<float>(given, tape, errors, wanted);
    }

private:
    struct Given {
        View tensors[8];  // x h0 c0 w_ih w_hh b_ih b_hh w_hr
        View mask, reset;
        Shape shape;
        const View& x() const { return tensors[0]; }
        bool stacked() const { return !tensors[1].there() || tensors[1].dimensions() == 3; }
    };

    bool see(Given& g, const nb::tuple& inputs, const nb::object& mask, const nb::object& reset, long threads) const {
        if (!torch.table || nb::len(inputs) != 8 || threads < 1 || threads > most_threads) return false;
        for (int i = 0; i < 8; i++)
            if (!g.tensors[i].see(PyTuple_GET_ITEM(inputs.ptr(), i)) || (g.tensors[i].there() && !g.tensors[i].readable())) return false;
        const View &x = g.x(), &h = g.tensors[1], &c = g.tensors[2];
        if (!x.there() || !x.floats() || x.dimensions() != 3 || x.size(0) < 1 || x.size(2) != I_) return false;
        if (x.stride(2) != 1 && I_ != 1) return false;
        const long T = x.size(0), B = x.size(1);
        if (double(T) * double(B) >= 2147483647.0 || double(T) * double(B) * (double(I_) + 4.0 * double(H_)) >= 1e14) return false;
        if (h.there() && h.dimensions() != 2 && h.dimensions() != 3) return false;
        if (h.there() && !fits(h, x, state_sizes(g.stacked(), B, Y_))) return false;
        if (c.there() != (h.there() && cell_ == Cell::lstm)) return false;
        if (c.there() && !fits(c, x, state_sizes(g.stacked(), B, H_))) return false;
        for (int i = 0; i < 5; i++) {
            const View& w = g.tensors[3 + i];
            const bool needed = i < 2 || (i == 4 && P_);
            if (w.there() ? (i == 4 && !P_) || !fits(w, x, weights_[i]) : needed) return false;
        }
        if (!see_flags(g.mask, mask, T, B) || !see_flags(g.reset, reset, T, B)) return false;
        g.shape = {cell_, activation_, reverse_, T, B, I_, H_, P_, clip_step_, threads, g.mask.at<const std::uint8_t>(),
                   g.reset.at<const std::uint8_t>()};
        return true;
    }

    static bool fits(const View& t, const View& x, const Sizes& sizes) { return t.shaped(sizes) && t.like(x) && t.dense(); }
    static bool see_flags(View& flags, const nb::object& given, long T, long B) {
        return flags.see(given.ptr()) &&
               (!flags.there() || (flags.flags() && flags.shaped({{T, B}, 2}) && flags.dense() && flags.readable()));
    }
    static Sizes state_sizes(bool stacked, long B, long width) {
        return stacked ? Sizes{{1, B, width}, 3} : Sizes{{B, width}, 2};
    }

    template <class S>
    nb::object forward_as(const Given& g, bool keep) const {
        const Shape& s = g.shape;
        const bool f64 = sizeof(S) == 8, lstm = cell_ == Cell::lstm;
        void* out[5] = {};
        nb::object made[5] = {nb::none(), nb::none(), nb::none(), nb::none(), nb::none()};
        made[0] = result<S>({{s.T, s.B, Y_}, 3}, &out[0]);
        made[1] = fresh(state_sizes(g.stacked(), s.B, Y_), f64, &out[1]);
        if (lstm) made[2] = fresh(state_sizes(g.stacked(), s.B, H_), f64, &out[2]);
        if (keep && cell_ != Cell::rnn) {
            const TapeSize size = tape<S>(s);
            made[3] = tape_part<S>(size.gates, &out[3]);
            if (lstm) made[4] = tape_part<S>(size.cells, &out[4]);
        }
        const auto& t = g.tensors;
        const Forward<S> f{s, t[0].at<const S>(), t[0].stride(0), t[0].stride(1), h0<S>(g), c0<S>(g),
                           t[3].at<const S>(), t[4].at<const S>(), t[5].at<const S>(), t[6].at<const S>(), t[7].at<const S>(),
                           static_cast<S*>(out[0]), static_cast<S*>(out[1]), static_cast<S*>(out[2]), static_cast<S*>(out[3]),
                           static_cast<S*>(out[4])};
        {
            nb::gil_scoped_release released;
            if constexpr (sizeof(S) == 4) kernels().f32.forward(f);
            else kernels().f64.forward(f);
        }
        return nb::make_tuple(made[0], made[1], made[2], made[3], made[4]);
    }

    template <class S>
    nb::object backward_as(const Given& g, const nb::tuple& tape_given, const nb::tuple& errors, const nb::tuple& wanted) const {
        const Shape& s = g.shape;
        const bool lstm = cell_ == Cell::lstm;
        View y, gates, cells, error[3];
        if (!y.see(PyTuple_GET_ITEM(tape_given.ptr(), 0)) || !gates.see(PyTuple_GET_ITEM(tape_given.ptr(), 1)) ||
            !cells.see(PyTuple_GET_ITEM(tape_given.ptr(), 2)))
            return nb::none();
        const TapeSize size = tape<S>(s);
        if (!y.there() || !fits(y, g.x(), {{s.T, s.B, Y_}, 3}) || gates.there() != (cell_ != Cell::rnn) || cells.there() != lstm)
            return nb::none();
        if (gates.there() && !fits(gates, g.x(), {{std::int64_t(size.gates)}, 1})) return nb::none();
        if (cells.there() && !fits(cells, g.x(), {{std::int64_t(size.cells)}, 1})) return nb::none();
        const Sizes expected[3] = {{{s.T, s.B, Y_}, 3}, state_sizes(g.stacked(), s.B, Y_), state_sizes(g.stacked(), s.B, H_)};
        const S* dense_error[3] = {};
        std::vector<S> copies[3];
        long dy_step = s.B * Y_, dy_row = Y_;
        for (int i = 0; i < 3; i++) {
            if (!error[i].see(PyTuple_GET_ITEM(errors.ptr(), i))) return nb::none();
            if (!error[i].there()) continue;
            if (!error[i].shaped(expected[i]) || !error[i].like(g.x()) || (i == 2 && !lstm)) return nb::none();
            dense_error[i] = error[i].at<const S>();
            if (error[i].dense()) continue;
            if (i == 0 && (error[0].stride(2) == 1 || error[0].one())) {
                dy_step = error[0].stride(0);
                dy_row = error[0].stride(1);
                if (error[0].stride(2) == 1) continue;
                copies[0].assign(std::size_t(Y_), *dense_error[0]);  // of y.sum()
                dense_error[0] = copies[0].data();
                continue;
            }
            if (error[i].elements() > few) return nb::none();
            copies[i] = error[i].copied<S>();
            dense_error[i] = copies[i].data();
        }
        nb::object made[8];
        void* out[8] = {};
        for (int i = 0; i < 8; i++) {
            made[i] = nb::none();
            if (PyTuple_GET_ITEM(wanted.ptr(), i) == Py_True && g.tensors[i].there())
                made[i] = result<S>(g.tensors[i].sizes(), &out[i]);
        }
        const auto& t = g.tensors;
        const auto to = [&](int i) { return static_cast<S*>(out[i]); };
        const Backward<S> f{s, t[0].at<const S>(), t[0].stride(0), t[0].stride(1), h0<S>(g), c0<S>(g),
                            t[3].at<const S>(), t[4].at<const S>(), t[7].at<const S>(), y.at<const S>(), gates.at<const S>(),
                            cells.at<const S>(), dense_error[0], dy_step, dy_row, dense_error[1], dense_error[2],
                            to(0), to(1), to(2), to(3), to(4), to(5), to(6), to(7)};
        {
            nb::gil_scoped_release released;
            if constexpr (sizeof(S) == 4) kernels().f32.backward(f);
            else kernels().f64.backward(f);
        }
        return nb::make_tuple(made[0], made[1], made[2], made[3], made[4], made[5], made[6], made[7]);
    }

    template <class S>
    const S* h0(const Given& g) const {
        return g.tensors[1].there() ? g.tensors[1].at<const S>() : static_cast<const S*>(zeros(std::size_t(g.shape.B * H_) * sizeof(S)));
    }
    template <class S>
    const S* c0(const Given& g) const {
        return g.tensors[1].there() || cell_ != Cell::lstm ? g.tensors[2].at<const S>() : h0<S>(g);
    }

    template <class S>
    static TapeSize tape(const Shape& s) {
        if constexpr (sizeof(S) == 4) return kernels().f32.tape(s);
        else return kernels().f64.tape(s);
    }

    Cell cell_;
    Activation activation_;
    bool reverse_;
    long I_, H_, P_, Y_;
    double clip_step_;
    Sizes weights_[5];
};

}  // namespace

void define_direct(nb::module_& m) {
    m.def("attach", &attach, "Makes the direct way known torch.Tensor and torch.nn.Parameter; whether this torch offers it.");
    nb::class_<Direct>(m, "Direct", "One layer in one direction, called with torch's own tensors.")
        .def(nb::init<int, int, bool, long, long, long, double>())
        .def("forward", &Direct::forward, nb::arg("inputs"), nb::arg("mask").none(), nb::arg("reset").none(), nb::arg("keep"),
             nb::arg("threads"), "(x h0 c0 w_ih w_hh b_ih b_hh w_hr) -> (y h c gates cells), or None: go the long way.")
        .def("backward", &Direct::backward, nb::arg("inputs"), nb::arg("mask").none(), nb::arg("reset").none(), nb::arg("tape"),
             nb::arg("errors"), nb::arg("wanted"), nb::arg("threads"), "The eight gradients, or None: go the long way.");
}

}  // namespace bptt
